"""ARK-ASR in PyTorch: audio embeddings take the place of the audio ids in a Qwen2 prompt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.modeling.decoder import Decoder, KeyValueCache
from ark_asr.modeling.encoder import AudioEncoder
from ark_asr.models.config import ModelConfig, read_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"


class ArkForConditionalGeneration(nn.Module):
    """The whole model. Weight names and shapes are exactly those of the published checkpoints."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_encoder = AudioEncoder(config)
        self.model = Decoder(config.decoder)
        self.lm_head = nn.Linear(config.decoder.hidden_size, config.decoder.vocab_size, bias=False)
        if config.decoder.tied_head:
            self.lm_head.weight = self.model.embed_tokens.weight

    def embed_audio(self, mels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Log-mels ``[batch, bins, frames]`` to audio embeddings ``[batch, slots, hidden]``."""
        return cast(Tensor, self.audio_encoder(mels, frames))

    def embed_prompt(self, token_ids: Tensor, audio: Tensor | None) -> Tensor:
        """Input embeddings ``[batch, length, hidden]``, audio in the places of the audio ids.

        Args:
            token_ids: int64 ``[batch, length]``.
            audio: ``[batch, slots, hidden]``; the k-th audio id of a row receives its k-th row.
                Rows that are missing are zeros, surplus ones are not used.
        """
        is_audio = token_ids == self.config.audio_token_id
        embeds = self.model.embed_tokens(token_ids.masked_fill(is_audio, 0))
        if audio is None:
            return cast(Tensor, embeds)
        slot = is_audio.cumsum(1) - 1
        audio = nn.functional.pad(audio, (0, 0, 0, 1))  # one row of zeros for slots without audio
        slot = slot.clamp(0, audio.shape[1] - 1)[..., None].expand(-1, -1, audio.shape[-1])
        return torch.where(is_audio[..., None], audio.gather(1, slot).to(embeds.dtype), embeds)

    def forward(
        self, token_ids: Tensor, mels: Tensor | None = None, frames: Tensor | None = None
    ) -> Tensor:
        """Logits ``[batch, length, vocabulary]`` of whole sequences, padded at the right."""
        audio = None if mels is None else self.embed_audio(mels, frames)
        return cast(Tensor, self.lm_head(self.model(self.embed_prompt(token_ids, audio))))

    def decode(self, embeds: Tensor, positions: Tensor, cache: KeyValueCache) -> Tensor:
        """Hidden states ``[batch, new, hidden]`` of new positions behind those in the cache."""
        return cast(Tensor, self.model(embeds, positions, cache))

    def save(self, folder: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
        """Write ``model.safetensors`` with the published names, the tied head stored as well."""
        state = {name: t.detach().to("cpu", dtype).clone() for name, t in self.state_dict().items()}
        target = Path(folder) / WEIGHTS_FILE
        partial = target.with_suffix(".partial")
        save_file(state, partial, metadata={"format": "pt"})
        partial.replace(target)

    @classmethod
    def load(
        cls, folder: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> ArkForConditionalGeneration:
        """Read a checkpoint folder: one safetensors file, or several with an index.

        Raises:
            ModelNotFoundError: There are no weights.
            ModelFormatError: Weights are missing, unknown or of the wrong shape; all are named.
        """
        config = ModelConfig.load(folder)
        with torch.device("meta"):
            model = cls(config)
        expected = model.state_dict()
        state: dict[str, Tensor] = {}
        for path in _weight_files(Path(folder)):
            state |= {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
        if config.decoder.tied_head and HEAD not in state and EMBEDDING in state:
            state[HEAD] = state[EMBEDDING]
        if config.use_rope:  # stored by the published checkpoints, used by none
            name = "audio_encoder.whisper.embed_positions.weight"
            state.setdefault(name, torch.zeros(expected[name].shape, dtype=dtype))
        wrong = list(_differences(expected, state))
        if wrong:
            shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if wrong[5:] else "")
            raise ModelFormatError(f"{folder}: weights do not fit config.json: {shown}")
        model.load_state_dict(state, strict=True, assign=True)
        if config.decoder.tied_head:
            model.lm_head.weight = model.model.embed_tokens.weight
        return model.to(device).eval()


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX_FILE).is_file():
        shards = set(read_json(folder / INDEX_FILE).get("weight_map", {}).values())
        paths = [folder / name for name in sorted(shards)]
    else:
        paths = [folder / WEIGHTS_FILE]
    for path in paths:
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file; the model's weights are in it")
    return paths


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} is not known"
        elif expected[name].shape != found[name].shape:
            yield f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}"

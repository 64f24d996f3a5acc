"""ARK-ASR in PyTorch: audio embeddings take the place of the audio ids in a Qwen2 prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ark_asr.modeling.decoder import Decoder, KeyValueCache
from ark_asr.modeling.encoder import AudioEncoder
from ark_asr.models.config import ModelConfig
from ark_asr.models.weights import EMBEDDING, HEAD, WEIGHTS_FILE, Weights, tensor_shapes


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
        """Input embeddings ``[batch, length, hidden]``; see `place_audio`."""
        return place_audio(self.model.embed_tokens, token_ids, audio, self.config.audio_token_id)

    def forward(
        self, token_ids: Tensor, mels: Tensor | None = None, frames: Tensor | None = None
    ) -> Tensor:
        """Logits ``[batch, length, vocabulary]`` of whole sequences, padded at the right."""
        audio = None if mels is None else self.embed_audio(mels, frames)
        return cast(Tensor, self.lm_head(self.model(self.embed_prompt(token_ids, audio))))

    def decode(self, embeds: Tensor, positions: Tensor, cache: KeyValueCache) -> Tensor:
        """Hidden states ``[batch, new, hidden]`` of new positions behind those in the cache."""
        return cast(Tensor, self.model(embeds, positions, cache))

    def save(
        self, folder: str | Path, dtype: torch.dtype = torch.bfloat16,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Write ``model.safetensors`` with the published names, the tied head stored as well.

        Args:
            folder: Where to.
            dtype: Of the file.
            weights: To be written instead of the model's own.
        """
        weights = self.state_dict() if weights is None else weights
        state = {name: t.detach().to("cpu", dtype).clone() for name, t in weights.items()}
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
            ModelFormatError: Weights are missing or of the wrong shape; they are named.
        """
        config = ModelConfig.load(folder)
        weights = Weights.open(folder)
        weights.check(config)
        with torch.device("meta"):
            model = cls(config)
        state: dict[str, Tensor] = {}
        for name, shape in tensor_shapes(config).items():
            if name in weights:
                state[name] = torch.from_numpy(weights[name]).to(dtype)
            elif name == HEAD:  # tied, and not stored a second time
                state[name] = state[EMBEDDING]
            else:  # positions, which rotary checkpoints need not have
                state[name] = torch.zeros(shape, dtype=dtype)
        model.load_state_dict(state, strict=True, assign=True)
        if config.decoder.tied_head:
            model.lm_head.weight = model.model.embed_tokens.weight
        return model.to(device).eval()


def place_audio(
    table: nn.Embedding, token_ids: Tensor, audio: Tensor | None, audio_token_id: int
) -> Tensor:
    """Input embeddings, with audio in the places of the audio ids.

    Args:
        table: Token embeddings.
        token_ids: int64 ``[batch, length]``.
        audio: ``[batch, slots, hidden]``; the k-th audio id of a row receives its k-th row. Rows
            that are missing are zeros, surplus ones are not used.
        audio_token_id: The audio id.

    Returns:
        ``[batch, length, hidden]``.
    """
    is_audio = token_ids == audio_token_id
    embeds = table(token_ids.masked_fill(is_audio, 0))
    if audio is None:
        return cast(Tensor, embeds)
    slot = is_audio.cumsum(1) - 1
    audio = nn.functional.pad(audio, (0, 0, 0, 1))  # one row of zeros for slots without audio
    slot = slot.clamp(0, audio.shape[1] - 1)[..., None].expand(-1, -1, audio.shape[-1])
    return torch.where(is_audio[..., None], audio.gather(1, slot).to(embeds.dtype), embeds)

"""The engine of the layout "speech-llm": encoder, token embeddings, decoder with a growing cache.

What this layout says of itself: `ark_asr.models.speech_llm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ark_asr.engines.graph import ANY, FIXED, Graph
from ark_asr.engines.rows import RowEngine
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.speech_llm import AUDIO_SLOT, SpeechLlmTokenizer
from ark_asr.types import FloatArray

_STEMS = ("encoder", "embed_tokens", "decoder")
_PAST, _PRESENT = "past_key_values.", "present."
_HIDDEN = np.float32(-3.4028235e38)  # of a score; what the graphs were made with
# Scaled log-mels span two units (eight powers of ten) below a clip's loudest value.
_MEL_RANGE = 2.0


class SpeechLlmEngine(RowEngine[dict[str, ort.OrtValue]]):
    """A loaded folder.

    Attributes:
        tokenizer: The text side, which this layout keeps in the same files.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
    """

    def __init__(
        self, tokenizer: SpeechLlmTokenizer, encoder: Graph, embed_tokens: Graph, decoder: Graph
    ) -> None:
        super().__init__(
            output_ids=tokenizer.output_ids,
            max_positions=tokenizer.config.max_positions,
            audio_id=AUDIO_SLOT,
            stop_ids=tokenizer.stop_ids,
            hidden_size=decoder.input("inputs_embeds", 1, ANY, FIXED)[2],
        )
        self.tokenizer = tokenizer
        self._encoder, self._embed_tokens, self._decoder = encoder, embed_tokens, decoder
        bins = tokenizer.features.mel_bins
        encoder.only_inputs(["input_features"])
        encoder.input("input_features", 1, bins, ANY)
        embed_tokens.only_inputs(["input_ids"])
        embed_tokens.input("input_ids", 1, ANY, kind="int64")
        for graph, output in ((encoder, "audio_embeds"), (embed_tokens, "inputs_embeds")):
            graph.output(output, 1, ANY, self._hidden)
        self._past = [name for name in decoder.inputs if name.startswith(_PAST)]
        decoder.only_inputs(["inputs_embeds", "attn_bias", "position_ids", *self._past])
        decoder.input("attn_bias", 1, 1, ANY, ANY)
        decoder.input("position_ids", 1, ANY, kind="int64")
        decoder.output("logits", 1, ANY, ANY)
        if not self._past:
            raise ModelFormatError(f"{decoder.path}: has no inputs {_PAST}*, expected a cache")
        self._present = [name.replace(_PAST, _PRESENT, 1) for name in self._past]
        self._empty = {}
        for past, present in zip(self._past, self._present, strict=True):
            _, heads, _, size = decoder.input(past, 1, FIXED, ANY, FIXED)
            decoder.output(present, 1, ANY, ANY, ANY)
            nothing = np.empty((1, heads, 0, size), np.float32)
            self._empty[past] = ort.OrtValue.ortvalue_from_numpy(nothing)

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> SpeechLlmEngine:
        """Open a folder; its int8 graphs if it has them.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
            OptionError: ``threads`` is not positive.
        """
        folder = Path(folder)
        tokenizer = SpeechLlmTokenizer.load(folder)
        int8 = any((folder / f"{stem}_int8.onnx").is_file() for stem in _STEMS)
        ending = "_int8.onnx" if int8 else ".onnx"
        return cls(tokenizer, *(Graph(folder / f"{stem}{ending}", threads) for stem in _STEMS))

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``, in the same order.

        Raises:
            OptionError: A clip has more frames than the model takes.
        """
        features = self.tokenizer.features
        most = features.frames(features.clip_samples)
        if (longest := max((mel.shape[1] for mel in mels), default=0)) > most:
            raise OptionError(f"a clip has {longest} frames; the model takes {most}, cut it")
        return [self._listen(mel) for mel in mels]

    def close(self) -> None:
        """Give back memory and files."""
        for graph in (self._encoder, self._embed_tokens, self._decoder):
            graph.close()

    def _listen(self, mel: FloatArray) -> FloatArray:
        multiple = self.tokenizer.config.frame_multiple
        slots = max(mel.shape[1] // multiple, 1)
        mel = mel[:, : slots * multiple]
        if missing := slots * multiple - mel.shape[1]:
            # A clip too short for one embedding goes on in silence, as its padded log-mel would.
            mel = np.pad(mel, ((0, 0), (0, missing)), constant_values=mel.max() - _MEL_RANGE)
        (audio,) = self._encoder.run(["audio_embeds"], {"input_features": mel[None]})
        if audio.shape != (1, slots, self._hidden):
            raise ModelFormatError(
                f"{self._encoder.path}: made {list(audio.shape)} of {mel.shape[1]} frames, "
                f"expected {[1, slots, self._hidden]}"
            )
        heard: FloatArray = audio[0]
        return heard

    def _new_cache(self) -> dict[str, ort.OrtValue]:
        return dict(self._empty)

    def _copied(self, cache: dict[str, ort.OrtValue]) -> dict[str, ort.OrtValue]:
        return dict(cache)  # the arrays themselves are never written to

    def _embed_ids(self, token_ids: list[int]) -> FloatArray:
        feeds = {"input_ids": np.array([token_ids], np.int64)}
        embeds: FloatArray = self._embed_tokens.run(["inputs_embeds"], feeds)[0][0]
        return embeds

    def _run(self, cache: dict[str, ort.OrtValue], position: int, embeds: FloatArray) -> FloatArray:
        total = position + embeds.shape[1]
        hidden = np.full((1, 1, embeds.shape[1], total), _HIDDEN)
        inputs = {
            "inputs_embeds": embeds,
            "attn_bias": np.triu(hidden, position + 1),
            "position_ids": np.arange(position, total, dtype=np.int64)[None],
        }
        feeds = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        logits, *present = self._decoder.run_values(["logits", *self._present], {**feeds, **cache})
        cache.update(zip(self._past, present, strict=True))
        last: FloatArray = logits.numpy()[0, -1]
        if len(last) <= self.output_ids[-1]:
            raise ModelFormatError(
                f"{self._decoder.path}: has logits for {len(last)} ids, expected more than "
                f"{self.output_ids[-1]}"
            )
        return last

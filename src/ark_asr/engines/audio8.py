"""The engine of the Audio8-ASR-0.1B bundle: static caches, and a projector on the host.

What the bundle says of itself: `ark_asr.models.audio8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ark_asr.engines.base import CLOSED
from ark_asr.engines.graph import ANY, FIXED, Graph
from ark_asr.engines.rows import RowEngine
from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.audio8 import Audio8Tokenizer
from ark_asr.models.npy import map_npy, read_npz
from ark_asr.types import FloatArray

_TABLES = "weights"
_EMBEDDING_FILE = "token_embedding.npy"
_PROJECTOR_FILE = "audio_projector.npz"
_LAYER_NORM_EPS = np.float32(1e-5)
# What there can be of each graph, the one to take first.
_AUDIO_ENDINGS = ("_int8", "")
_DECODER_ENDINGS = ("_int8", "_int4", "")


@dataclass(frozen=True, slots=True, eq=False)
class Projector:
    """LayerNorm and a linear layer: tower rows to audio embeddings.

    Attributes:
        norm_weight: ``[width]``, as ``norm_bias``.
        norm_bias: See there.
        linear_weight: ``[hidden, width]``.
        linear_bias: ``[hidden]``.
    """

    norm_weight: FloatArray
    norm_bias: FloatArray
    linear_weight: FloatArray
    linear_bias: FloatArray

    @classmethod
    def load(cls, path: Path, hidden: int) -> Projector:
        """Read ``audio_projector.npz``.

        Raises:
            ModelNotFoundError: There is none.
            ModelFormatError: It is damaged, or its arrays do not fit each other or ``hidden``.
        """
        names = {"norm_weight": 1, "norm_bias": 1, "linear_weight": 2, "linear_bias": 1}
        projector = cls(*read_npz(path, tuple(names.items())))
        width = len(projector.norm_weight)
        shapes = ((width,), (width,), (hidden, width), (hidden,))
        for name, shape in zip(names, shapes, strict=True):
            if (found := getattr(projector, name).shape) != shape:
                raise ModelFormatError(f"{path}: {name} is {list(found)}, expected {list(shape)}")
        return projector

    def __call__(self, rows: FloatArray) -> FloatArray:
        """``[n, width]`` to ``[n, hidden]``."""
        centred = rows - rows.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        normed = centred / np.sqrt(variance + _LAYER_NORM_EPS) * self.norm_weight + self.norm_bias
        projected: FloatArray = normed @ self.linear_weight.T + self.linear_bias
        return projected


def pool(rows: FloatArray, count: int) -> FloatArray:
    """Adaptive average pooling over the first axis: ``[n, width]`` to ``[count, width]``.

    Row ``o`` is the mean of rows ``floor(o * n / count)`` to ``ceil((o + 1) * n / count)``, as in
    PyTorch's ``adaptive_avg_pool1d``.
    """
    n = len(rows)
    spans = [(o * n // count, -(-(o + 1) * n // count)) for o in range(count)]
    return np.stack([rows[first:end].mean(axis=0) for first, end in spans])


class Audio8Engine(RowEngine[list[FloatArray]]):
    """A loaded bundle.

    Args:
        folder: Its graphs, their tables in a folder beside them or among them.
        threads: Threads of each graph; ``None`` for one per physical core that may be used.

    Raises:
        ModelNotFoundError: A file is missing.
        ModelFormatError: A file is not what it must be.
        OptionError: ``threads`` is not positive.

    Attributes:
        tokenizer: The text side, with the longest clip that this bundle's graphs can take.
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending.
        max_positions: Positions that one row can hold.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        tables = folder / _TABLES if (folder / _TABLES).is_dir() else folder
        self._table = map_npy(tables / _EMBEDDING_FILE, 2)
        vocab_size, hidden = self._table.shape
        self._projector = Projector.load(tables / _PROJECTOR_FILE, hidden)
        self._audio = Graph(_first(folder, "audio_hidden", _AUDIO_ENDINGS), threads)
        decode = _first(folder, "lm_cache_decode", _DECODER_ENDINGS)
        prefill = decode.with_name(decode.name.replace("decode", "prefill"))
        self._prefill, self._decode = Graph(prefill, threads), Graph(decode, threads)
        bins, self._frames = self._check_audio()
        positions = self._check_decoder(vocab_size, hidden)
        self.tokenizer = Audio8Tokenizer.load(
            folder, mel_bins=bins, frames=self._frames, positions=positions, vocab_size=vocab_size
        )
        super().__init__(
            output_ids=np.arange(vocab_size),
            max_positions=positions,
            audio_id=self.tokenizer.audio_id,
            stop_ids=self.tokenizer.stop_ids,
            hidden_size=hidden,
        )

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> Audio8Engine:
        """Open a bundle, of several precisions int8, then int4; errors as for the class."""
        return cls(Path(folder), threads)

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Log-mels ``[bins, F_i]`` to audio embeddings ``[N_i, hidden]``, in the same order.

        Raises:
            OptionError: A clip has more frames than the model takes.
        """
        most = self.tokenizer.features.frames(self.tokenizer.features.clip_samples)
        if (longest := max((mel.shape[1] for mel in mels), default=0)) > most:
            raise OptionError(f"a clip has {longest} frames; the model takes {most}, cut it")
        return [self._listen(mel) for mel in mels]

    def close(self) -> None:
        """Give back memory and files."""
        for graph in (self._audio, self._prefill, self._decode):
            graph.close()
        self._table = CLOSED

    def _check_audio(self) -> tuple[int, int]:
        """Mel bins and frames of the audio graph."""
        graph = self._audio
        graph.only_inputs(["audios", "audio_feature_lengths"])
        _, bins, frames = graph.input("audios", 1, FIXED, FIXED)
        graph.input("audio_feature_lengths", 1, kind="int64")
        graph.output("audio_hidden", ANY, len(self._projector.norm_weight))
        graph.output("audio_valid_mask", ANY, kind="int64")
        return bins, frames

    def _check_decoder(self, vocab_size: int, hidden: int) -> int:
        """Check both graphs and find the order of the cache's axes; return its positions."""
        prefill, decode = self._prefill, self._decode
        keys = [name for name in decode.inputs if name.startswith("cache_key_")]
        self._caches = [f"cache_{kind}_{i}" for i in range(len(keys)) for kind in ("key", "value")]
        self._deltas = [f"{kind}_delta_{i}" for i in range(len(keys)) for kind in ("key", "value")]
        prefill.only_inputs(["inputs_embeds", "cache_position"])
        decode.only_inputs(["inputs_embeds", "attention_mask", "cache_position", *self._caches])
        prefill.input("inputs_embeds", 1, ANY, hidden)
        decode.input("inputs_embeds", 1, 1, hidden)
        for graph, new in ((prefill, ANY), (decode, 1)):
            graph.input("cache_position", new, kind="int64")
            graph.output("logits", 1, ANY, vocab_size)
        positions = decode.input("attention_mask", 1, FIXED, kind="int64")[1]
        if not keys:
            raise ModelFormatError(f"{decode.path}: has no inputs cache_key_*, expected a cache")
        shape = decode.input(keys[0], 1, FIXED, FIXED, FIXED)
        if shape[1:3].count(positions) != 1:
            raise ModelFormatError(
                f"{decode.path}: {keys[0]} is {shape}, expected one axis of {positions} positions"
            )
        self._axis = shape.index(positions, 1)
        self._shape = (1, *shape[1:])
        for name in self._caches:
            decode.input(name, *shape)
        delta = [ANY if axis == self._axis else size for axis, size in enumerate(shape)]
        for name in self._deltas:
            prefill.output(name, *delta)
            decode.output(name, *delta)
        return positions

    def _listen(self, mel: FloatArray) -> FloatArray:
        bins, frames = mel.shape
        audios = np.zeros((1, bins, self._frames), np.float32)
        audios[0, :, :frames] = mel
        feeds = {"audios": audios, "audio_feature_lengths": np.array([frames])}
        rows, mask = self._audio.run(["audio_hidden", "audio_valid_mask"], feeds)
        heard = rows[mask != 0]
        if not len(heard):
            raise ModelFormatError(f"{self._audio.path}: heard nothing in {frames} frames")
        return self._projector(pool(heard, self.tokenizer.config.audio_slots(frames)))

    def _new_cache(self) -> list[FloatArray]:
        return [np.zeros(self._shape, np.float32) for _ in self._caches]

    def _copied(self, cache: list[FloatArray]) -> list[FloatArray]:
        return [array.copy() for array in cache]

    def _embed_ids(self, token_ids: list[int]) -> FloatArray:
        return self._table[token_ids]

    def _run(self, cache: list[FloatArray], position: int, embeds: FloatArray) -> FloatArray:
        end = position + embeds.shape[1]
        feeds = {"inputs_embeds": embeds, "cache_position": np.arange(position, end)}
        graph = self._prefill
        if position:
            graph = self._decode
            mask = (np.arange(self.max_positions) < end).astype(np.int64)
            feeds |= {"attention_mask": mask[None], **dict(zip(self._caches, cache, strict=True))}
        logits, *deltas = graph.run(["logits", *self._deltas], feeds)
        for whole, delta in zip(cache, deltas, strict=True):
            place = [slice(None)] * whole.ndim
            place[self._axis] = slice(position, end)
            whole[tuple(place)] = delta
        last: FloatArray = logits[0, -1]
        return last


def _first(folder: Path, stem: str, endings: Sequence[str]) -> Path:
    """The first of a graph's precisions that is there."""
    paths = [folder / f"{stem}{ending}.onnx" for ending in endings]
    for path in paths:
        if path.is_file():
            return path
    raise ModelNotFoundError(f"{folder}: has none of {', '.join(path.name for path in paths)}")

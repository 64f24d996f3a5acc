"""Safetensors weights read one tensor at a time, without torch.

Written here because the published checkpoints are bfloat16, which numpy does not have: a bfloat16
is the upper half of a float32, so a shift reads it exactly. The format:
https://huggingface.co/docs/safetensors (8 bytes of header length, JSON header, data).
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

import numpy as np

from ark_asr.errors import ArkWarning, ModelFormatError, ModelNotFoundError
from ark_asr.models.config import ModelConfig
from ark_asr.models.fields import is_file_name, parse_object, read_json
from ark_asr.types import FloatArray

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
POSITIONS = "audio_encoder.whisper.embed_positions.weight"

# A hundred times that of the largest model. The reference reader takes 100 MB, which would become
# gigabytes of Python objects.
_MAX_HEADER = 10_000_000
_MAX_AXES = 8
_TYPES = {name: np.dtype(code) for name, code in (("BF16", "<u2"), ("F16", "<f2"), ("F32", "<f4"))}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies: bytes ``[begin, end)`` of ``file``."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Weights:
    """The tensors of one checkpoint folder, by their published names.

    Args:
        tensors: All of them.
        where: Named in errors.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor], where: Path) -> None:
        self._tensors = dict(tensors)
        self.where = where

    @classmethod
    def open(cls, folder: str | Path) -> Weights:
        """Read the headers of ``model.safetensors``, or of the files its index names.

        Raises:
            ModelNotFoundError: There are no weights, or a file of the index is missing.
            ModelFormatError: A header or the index is not what it must be.
        """
        folder = Path(folder)
        if not (folder / INDEX_FILE).is_file():
            return cls(dict(_read_header(folder / WEIGHTS_FILE)), folder / WEIGHTS_FILE)
        index = folder / INDEX_FILE
        places = read_json(index, unique=True).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelFormatError(f"{index}: weight_map is missing or empty")
        for file in places.values():
            # A path here could name any file of the machine.
            if not is_file_name(file):
                raise ModelFormatError(f"{index}: {file!r} is not the name of a file beside it")
        tensors: dict[str, StoredTensor] = {}
        for file in sorted(set(places.values())):
            found = dict(_read_header(folder / file))
            lost = [name for name, at in places.items() if at == file and name not in found]
            if lost:
                raise ModelFormatError(f"{folder / file}: lacks {_list(lost)}, named by the index")
            tensors |= {name: tensor for name, tensor in found.items() if places.get(name) == file}
        return cls(tensors, index)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every stored tensor."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    @property
    def files(self) -> list[Path]:
        """The files that hold tensors, in order of name."""
        return sorted({tensor.file for tensor in self._tensors.values()})

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> FloatArray:
        """A float32 copy of one tensor.

        Raises:
            ModelFormatError: It holds infinities or NaN.
        """
        tensor = self._tensors[name]
        size = math.prod(tensor.shape)
        stored = np.fromfile(tensor.file, _TYPES[tensor.dtype], size, offset=tensor.begin)
        if tensor.dtype == "BF16":
            bits = stored.astype(np.uint32)
            bits <<= 16
            values = bits.view(np.float32)
        else:
            values = stored.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise ModelFormatError(f"{tensor.file}: {name} holds values that are not finite")
        return values.reshape(tensor.shape)

    def matrix(self, name: str) -> FloatArray:
        """The same as ``[name]``: other sources of weights hold some in int8 and give them so."""
        return self[name]

    def check(self, config: ModelConfig) -> None:
        """Compare names and shapes with what ``config.json`` asks for; unknown names warn.

        Raises:
            ModelFormatError: Tensors are missing or of another shape; the first ones are named.
        """
        expected, stored = tensor_shapes(config), self.shapes
        optional = {POSITIONS} if config.use_rope else set()
        optional |= {HEAD} if config.decoder.tied_head else set()
        missing = [name for name in expected if name not in stored and name not in optional]
        wrong = [
            f"{name} is {short(list(stored[name]))}, expected {list(shape)}"
            for name, shape in expected.items()
            if name in stored and stored[name] != shape
        ]
        if missing or wrong:
            said = ([f"missing {_list(missing)}"] if missing else []) + wrong[:3]
            raise ModelFormatError(f"{self.where}: does not fit config.json: {'; '.join(said)}")
        if unknown := [name for name in stored if name not in expected]:
            warnings.warn(
                f"{self.where}: unknown tensors are ignored: {_list(unknown)}", ArkWarning,
                stacklevel=2,
            )  # fmt: skip


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint, optional ones included."""
    audio, text = config.encoder, config.decoder
    size, hidden = audio.hidden_size, text.hidden_size
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, inner: int, *, bias: bool = False) -> None:
        shapes[f"{name}.weight"] = (out, inner)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (size,)

    tower = "audio_encoder.whisper"
    for name, inner in (("conv1", audio.mel_bins), ("conv2", size)):
        shapes[f"{tower}.{name}.weight"], shapes[f"{tower}.{name}.bias"] = (size, inner, 3), (size,)
    shapes[POSITIONS] = (audio.max_positions, size)
    for i in range(audio.layers):
        layer = f"{tower}.layers.{i}"
        norm(f"{layer}.self_attn_layer_norm")
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}.self_attn.{name}", size, size, bias=name != "k_proj")
        norm(f"{layer}.final_layer_norm")
        linear(f"{layer}.fc1", audio.ffn_size, size, bias=True)
        linear(f"{layer}.fc2", size, audio.ffn_size, bias=True)
    norm("audio_encoder.layer_norm")
    linear("audio_encoder.adapting.0", config.adapter_size, size * config.merge_factor, bias=True)
    linear("audio_encoder.adapting.2", hidden, config.adapter_size, bias=True)
    shapes[EMBEDDING] = (text.vocab_size, hidden)
    for i in range(text.layers):
        layer = f"model.layers.{i}"
        shapes[f"{layer}.input_layernorm.weight"] = (hidden,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        linear(f"{layer}.self_attn.q_proj", queries, hidden, bias=True)
        linear(f"{layer}.self_attn.k_proj", keys, hidden, bias=True)
        linear(f"{layer}.self_attn.v_proj", keys, hidden, bias=True)
        linear(f"{layer}.self_attn.o_proj", hidden, queries)
        linear(f"{layer}.mlp.gate_proj", text.ffn_size, hidden)
        linear(f"{layer}.mlp.up_proj", text.ffn_size, hidden)
        linear(f"{layer}.mlp.down_proj", hidden, text.ffn_size)
    shapes["model.norm.weight"] = (hidden,)
    shapes[HEAD] = (text.vocab_size, hidden)
    return shapes


def _read_header(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; the weights belong there")
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 0 < length <= min(size - 8, _MAX_HEADER):
            raise ModelFormatError(f"{path}: not a safetensors file, or only its beginning")
        header = parse_object(file.read(length), f"{path}: the safetensors header", unique=True)
    header.pop("__metadata__", None)
    end_of_last = 0
    data = 8 + length
    found = {name: _entry(path, name, entry, data) for name, entry in header.items()}
    for name, tensor in sorted(found.items(), key=lambda item: item[1].begin):
        if tensor.begin - data != end_of_last:
            raise ModelFormatError(f"{path}: {name} overlaps another tensor or leaves a gap")
        end_of_last = tensor.end - data
    if end_of_last != size - data:
        raise ModelFormatError(
            f"{path}: holds {size - data:,} bytes of tensors, its header says {end_of_last:,}; "
            "download it again"
        )
    yield from found.items()


def _entry(path: Path, name: str, entry: object, data: int) -> StoredTensor:
    if not name.isprintable() or len(name) > 200:
        raise ModelFormatError(f"{path}: {short(name)} is not the name of a tensor")
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise ModelFormatError(f"{path}: {name} lacks dtype, shape or data_offsets") from None
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise ModelFormatError(f"{path}: {name} is {short(dtype)}; BF16, F16 and F32 are known")
    # Products of numbers without end would be computed for minutes.
    flat = isinstance(shape, list) and len(shape) <= _MAX_AXES
    numbers = [*shape, begin, end] if flat else [None]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise ModelFormatError(f"{path}: shape or offsets of {name} are not whole numbers")
    if end - begin != math.prod(shape) * _TYPES[dtype].itemsize:
        raise ModelFormatError(f"{path}: offsets of {name} do not fit its shape {short(shape)}")
    return StoredTensor(path, dtype, tuple(shape), data + begin, data + end)


def _list(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")

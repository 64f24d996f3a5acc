"""Our package: a model that ONNX Runtime runs, as one folder.

``ark_asr.json`` (the manifest below) says what the rest is: the checkpoint's own ``config.json``
and tokenizer files, ``encoder.onnx`` and ``decoder.onnx`` (graphs and small tensors) and
``weights.bin``, which both graphs map into memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.models.fields import is_file_name, read_json, require, whole_numbers
from ark_asr.types import IntArray

MANIFEST_FILE = "ark_asr.json"
KIND = "ark-asr-onnx"
FORMAT_VERSION = 1
ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
DATA_FILE = "weights.bin"

Precision: TypeAlias = Literal["fp32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class PackageFile:
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """The token embeddings inside ``weights.bin``: row-major, little-endian.

    Attributes:
        offset: First byte.
        dtype: ``float32`` or ``float16``.
        rows: Vocabulary size.
        columns: Hidden size.
    """

    offset: int
    dtype: str
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Source:
    """The checkpoint a package was built from."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package says of itself.

    Attributes:
        name: Name of the model.
        precision: Of the linear layers, ``fp32``, ``int8`` or ``int4``; with ``int4``, those of the
            encoder and the head are int8.
        max_positions: Positions (prompt plus generated tokens) one row can hold.
        output_ranges: Token ids of the logits columns as ``(first, last)`` pairs, both included,
            ascending. Ids that may never be chosen have no column.
        embedding: Where the token embeddings are.
        source: The checkpoint it was built from.
        licence: SPDX name, or empty if the source did not say.
        files: Every file of the package but the manifest.
    """

    name: str
    precision: str
    max_positions: int
    output_ranges: tuple[tuple[int, int], ...]
    embedding: EmbeddingTable
    source: Source
    licence: str
    files: dict[str, PackageFile]

    @property
    def output_ids(self) -> IntArray:
        """Token id of each logits column, int64, ascending."""
        spans = [np.arange(first, last + 1, dtype=np.int64) for first, last in self.output_ranges]
        return np.concatenate(spans)

    def save(self, folder: Path) -> None:
        """Write ``ark_asr.json``."""
        data = {"kind": KIND, "format_version": FORMAT_VERSION, **asdict(self)}
        text = json.dumps(data, indent=1, ensure_ascii=False)
        partial = folder / f"{MANIFEST_FILE}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(folder / MANIFEST_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read ``ark_asr.json`` and check that every file is there with its size.

        Raises:
            ModelNotFoundError: The manifest or a file it names is missing.
            ModelFormatError: The manifest is of another kind or version, or a file of another size.
        """
        folder = Path(folder)
        path = folder / MANIFEST_FILE
        data = read_json(path)
        if data.get("kind") != KIND:
            raise ModelFormatError(f"{path}: kind is {data.get('kind')!r}, expected {KIND!r}")
        if data.get("format_version") != FORMAT_VERSION:
            raise ModelFormatError(
                f"{path}: format version {data.get('format_version')!r}, this program reads "
                f"{FORMAT_VERSION}; build the package again"
            )
        manifest = cls._from_dict(data, str(path))
        check_sizes(
            folder,
            {name: file.size for name, file in manifest.files.items()},
            missing="the package is not complete",
            damaged="the package is damaged, fetch or build it again",
        )
        return manifest

    @classmethod
    def _from_dict(cls, data: dict[str, Any], where: str) -> Manifest:
        kinds = {"name": str, "precision": str, "max_positions": int, "output_ranges": list,
                 "embedding": dict, "source": dict, "licence": str, "files": dict}  # fmt: skip
        require(data, kinds, where)
        if data["precision"] not in PRECISIONS:
            raise ModelFormatError(f"{where}: precision {data['precision']!r} is not known")
        if not data["name"].isprintable():
            raise ModelFormatError(f"{where}: {data['name']!r} is not a name")
        (positions,) = whole_numbers(data, {"max_positions": 1 << 24}, where)
        limits = {"rows": 1 << 22, "columns": 1 << 16}
        whole_numbers(data["embedding"], limits, f"{where}: embedding")
        require(data["embedding"], {"offset": int, "dtype": str}, f"{where}: embedding")
        try:
            ranges = tuple((first, last) for first, last in data["output_ranges"])
            table = EmbeddingTable(**data["embedding"])
            source = Source(**data["source"])
            files = {name: PackageFile(**entry) for name, entry in data["files"].items()}
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"{where}: not a complete manifest ({error})") from None
        edges = [edge for span in ranges for edge in span]
        numbers = all(type(edge) is int for edge in edges)
        ascending = (
            numbers
            and all(first <= last for first, last in ranges)
            and all(after > before for before, after in zip(edges[1::2], edges[2::2], strict=False))
        )
        if not edges or not ascending or edges[0] < 0 or edges[-1] >= table.rows:
            raise ModelFormatError(f"{where}: output_ranges are not ascending ids of the model")
        for name, file in files.items():
            if not is_file_name(name):
                raise ModelFormatError(f"{where}: {name!r} is not the name of a file beside it")
            require({name: file.size, f"SHA-256 of {name}": file.sha256},
                    {name: int, f"SHA-256 of {name}": str}, where)  # fmt: skip
        needed = (ENCODER_FILE, DECODER_FILE, DATA_FILE)
        if missing := [name for name in needed if name not in files]:
            raise ModelFormatError(f"{where}: files lacks {', '.join(missing)}")
        if table.dtype not in ("float32", "float16"):
            raise ModelFormatError(f"{where}: embedding dtype {table.dtype!r} is not known")
        width = np.dtype(table.dtype).itemsize
        if table.offset < 0 or (
            table.offset + table.rows * table.columns * width > files[DATA_FILE].size
        ):
            raise ModelFormatError(f"{where}: the embedding table lies outside {DATA_FILE}")
        return cls(
            name=data["name"], precision=data["precision"], max_positions=positions,
            output_ranges=ranges, embedding=table, source=source, licence=data["licence"],
            files=files,
        )  # fmt: skip


def id_ranges(ids: IntArray) -> tuple[tuple[int, int], ...]:
    """Ascending ids as ``(first, last)`` pairs of consecutive ones, both included."""
    cuts = np.flatnonzero(np.diff(ids) != 1) + 1
    return tuple((int(run[0]), int(run[-1])) for run in np.split(ids, cuts))


def hash_file(path: Path, progress: Callable[[int], None] | None = None) -> PackageFile:
    """Size and SHA-256 of a file; ``progress`` is told the bytes read."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
            if progress:
                progress(len(block))
    return PackageFile(size, digest.hexdigest())


def check_sizes(folder: Path, sizes: Mapping[str, int], *, missing: str, damaged: str) -> None:
    """Compare files with the sizes they must have.

    Args:
        folder: Where they are.
        sizes: Bytes by file name.
        missing: What to say of a file that is not there.
        damaged: What to say of one of another size.

    Raises:
        ModelNotFoundError: A file is missing.
        ModelFormatError: A file has another size.
    """
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file():
            raise ModelNotFoundError(f"{file}: no such file; {missing}")
        if file.stat().st_size != size:
            raise ModelFormatError(
                f"{file}: {file.stat().st_size:,} bytes, expected {size:,}; {damaged}"
            )


def verify_package(folder: str | Path, progress: Callable[[int], None] | None = None) -> Manifest:
    """Compare the SHA-256 of every file with the manifest.

    Raises:
        ModelNotFoundError: A file is missing.
        ModelFormatError: A file is not the one the manifest was written for; all are named.
    """
    folder = Path(folder)
    manifest = Manifest.load(folder)
    wrong = [
        name
        for name, expected in manifest.files.items()
        if hash_file(folder / name, progress) != expected
    ]
    if wrong:
        raise ModelFormatError(
            f"{folder}: SHA-256 of {', '.join(wrong)} is not the manifest's; the package is "
            "damaged, fetch or build it again"
        )
    return manifest

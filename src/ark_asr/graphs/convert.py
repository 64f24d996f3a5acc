"""From a checkpoint, or the publisher's ONNX package, to our package."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ark_asr.errors import ArkError, ArkWarning, ModelFormatError, OptionError
from ark_asr.graphs.builder import DataFile, GraphBuilder
from ark_asr.graphs.decoder import DecoderGraph
from ark_asr.graphs.encoder import EncoderGraph
from ark_asr.graphs.linear import Linears, linears_for
from ark_asr.graphs.sources import Original, WeightSource, open_original
from ark_asr.models.calibration import CALIBRATION_FILE
from ark_asr.models.config import CONFIG_FILE, GENERATION_FILE, PREPROCESSOR_FILE
from ark_asr.models.home import settle
from ark_asr.models.package import (
    DATA_FILE,
    DECODER_FILE,
    ENCODER_FILE,
    MANIFEST_FILE,
    EmbeddingTable,
    Manifest,
    Precision,
    Source,
    hash_file,
    id_ranges,
)
from ark_asr.models.tokenizer import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from ark_asr.models.weights import EMBEDDING

# The rotary tables of the decoder are stored for this many positions at most: five times the
# longest prompt and answer of a 40-second clip, while tables for the published 32,768 would be
# larger than a small model.
MAX_POSITIONS = 4096
_COPIED = (CONFIG_FILE, PREPROCESSOR_FILE, GENERATION_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE,
           CALIBRATION_FILE)  # fmt: skip


def build_package(
    source: str | Path,
    dest: str | Path,
    *,
    precision: Precision = "int8",
    name: str | None = None,
    licence: str = "",
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Manifest:
    """Build a package from a model folder.

    The package appears under its name only when it is complete. Memory holds one tensor at a time,
    or the graphs of an ONNX package.

    Args:
        source: A checkpoint (``config.json``, tokenizer and safetensors weights), or an ONNX
            package in the publisher's layout, whose int8 weights an int8 package takes over as
            they are.
        dest: Folder to make.
        precision: Of the linear layers; convolutions, norms and attention stay float32.
        name: Name of the model; that of the source folder if not given.
        licence: SPDX name of the licence of the weights.
        overwrite: Replace ``dest`` if it is a package or empty; no other folder is deleted.
        progress: Told the fraction done, 0 to 1.

    Raises:
        OptionError: ``dest`` exists or cannot be written, or there is no such precision.
        ModelNotFoundError: A file of the source is missing.
        ModelFormatError: A file of the source is not what it must be.
    """
    source, dest = Path(source), Path(dest)
    linears = linears_for(precision)
    if dest.exists():
        _check_replaceable(source, dest, overwrite=overwrite)
    original = open_original(source)
    if original.int8 and precision != "int8":
        warnings.warn(
            f"{source}: its weights are int8; {precision} keeps their rounding errors, convert the "
            "checkpoint to be without", ArkWarning, stacklevel=2,
        )  # fmt: skip
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{dest.name}.", dir=dest.parent) as made:
            folder = Path(made) / "package"
            folder.mkdir()
            manifest = _write(source, folder, original, linears, precision, progress=progress)
            manifest = replace(manifest, name=name or manifest.source.name, licence=licence)
            manifest.save(folder)
            if dest.exists():  # look again: another conversion may have come first
                _check_replaceable(source, dest, overwrite=overwrite)
                shutil.rmtree(dest)
            settle(folder, dest)
    except ArkError:  # some of these are an OSError too
        raise
    except OSError as error:
        at = error.filename or dest
        raise OptionError(
            f"{dest}: the package cannot be made ({at}: {error.strerror or error})"
        ) from None
    return manifest


def _check_replaceable(source: Path, dest: Path, *, overwrite: bool) -> None:
    """Whether a folder may be deleted for a package: one wrong word must not cost a home folder."""
    if not overwrite:
        raise OptionError(f"{dest}: exists already; choose another folder or overwrite it")
    if not dest.is_dir():
        raise OptionError(f"{dest}: is a file; choose another name")
    if source.resolve().is_relative_to(dest.resolve()):
        raise OptionError(f"{dest}: the source is in it; choose another folder")
    if not (dest / MANIFEST_FILE).is_file() and any(dest.iterdir()):
        raise OptionError(f"{dest}: is not a package, so it is not replaced; choose another folder")


def _write(
    source: Path,
    folder: Path,
    original: Original,
    linears: Linears,
    precision: Precision,
    *,
    progress: Callable[[float], None] | None,
) -> Manifest:
    """All files of a package but its manifest, which is told."""
    max_positions = min(original.config.decoder.max_positions, MAX_POSITIONS)
    embedding = _write_graphs(
        folder, original, linears, precision, max_positions, progress=progress
    )
    for copied in _COPIED:
        if (source / copied).is_file():
            shutil.copyfile(source / copied, folder / copied)
    name = source.resolve().name
    return Manifest(
        name=name,
        precision=precision,
        max_positions=max_positions,
        output_ranges=id_ranges(original.output_ids),
        embedding=embedding,
        source=Source(name, _hash_weights(original.weights)),
        licence="",
        files={path.name: hash_file(path) for path in sorted(folder.iterdir())},
    )


def _write_graphs(
    folder: Path,
    original: Original,
    linears: Linears,
    precision: Precision,
    max_positions: int,
    *,
    progress: Callable[[float], None] | None,
) -> EmbeddingTable:
    config, weights = original.config, original.weights
    steps = config.encoder.layers + config.decoder.layers + 2
    count = 0

    def done() -> None:
        nonlocal count
        count += 1
        if progress:
            progress(count / steps)

    with DataFile(folder / DATA_FILE) as data:
        embedding = _write_embedding(data, weights, precision)
        graph = GraphBuilder("encoder", data)
        EncoderGraph(graph, config, weights, linears.encoder, done).build()
        graph.save(folder / ENCODER_FILE)
        graph = GraphBuilder("decoder", data)
        DecoderGraph(
            graph, config.decoder, weights, linears.decoder, linears.head, original.output_ids,
            max_positions, done,
        ).build()  # fmt: skip
        graph.save(folder / DECODER_FILE)
    return embedding


def _write_embedding(data: DataFile, weights: WeightSource, precision: Precision) -> EmbeddingTable:
    # Half precision holds a bfloat16 weight exactly down to 2^-14 and to 3e-8 below; quantising the
    # layers behind it costs far more than that.
    dtype = np.dtype(np.float32 if precision == "fp32" else np.float16)
    table = weights[EMBEDDING]
    rows, columns = table.shape
    largest = max(float(table.max(initial=0.0)), -float(table.min(initial=0.0)))
    if precision != "fp32" and largest > float(np.finfo(np.float16).max):
        raise ModelFormatError(
            f"{weights.files[0].parent}: {EMBEDDING} holds {largest:g}, too large for "
            f"{dtype.name}; convert to fp32"
        )
    return EmbeddingTable(data.append(table.astype(dtype, copy=False)), dtype.name, rows, columns)


def _hash_weights(weights: WeightSource) -> str:
    """SHA-256 of the weights file; of the hashes of all files, in order of name, if sharded."""
    hashes = [hash_file(path).sha256 for path in weights.files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

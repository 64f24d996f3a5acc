"""From a safetensors checkpoint to our package."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.graphs.builder import DataFile, GraphBuilder
from ark_asr.graphs.decoder import DecoderGraph
from ark_asr.graphs.encoder import EncoderGraph
from ark_asr.graphs.linear import linears_for
from ark_asr.models.config import CONFIG_FILE, GENERATION_FILE, PREPROCESSOR_FILE, ModelConfig
from ark_asr.models.package import (
    DATA_FILE,
    DECODER_FILE,
    ENCODER_FILE,
    EmbeddingTable,
    Manifest,
    Precision,
    Source,
    hash_file,
    id_ranges,
)
from ark_asr.models.tokenizer import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, Tokenizer
from ark_asr.models.weights import EMBEDDING, Weights

# The rotary tables of the decoder are stored for this many positions at most: five times the
# longest prompt and answer of a 40-second clip, while tables for the published 32,768 would be
# larger than a small model.
MAX_POSITIONS = 4096
_COPIED = (CONFIG_FILE, PREPROCESSOR_FILE, GENERATION_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)


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
    """Build a package from a checkpoint folder.

    The package appears under its name only when it is complete. Memory holds one tensor at a time.

    Args:
        source: Folder with ``config.json``, tokenizer and safetensors weights.
        dest: Folder to make.
        precision: Of the linear layers; convolutions, norms and attention stay float32.
        name: Name of the model; that of the source folder if not given.
        licence: SPDX name of the licence of the weights.
        overwrite: Replace ``dest`` if it exists.
        progress: Told the fraction done, 0 to 1.

    Raises:
        OptionError: ``dest`` exists, or there is no such precision.
        ModelNotFoundError: A file of the source is missing.
        ModelFormatError: A file of the source is not what it must be.
    """
    source, dest = Path(source), Path(dest)
    linears = linears_for(precision)
    if dest.exists() and not overwrite:
        raise OptionError(f"{dest}: exists already; choose another folder or overwrite it")
    config = ModelConfig.load(source)
    tokenizer = Tokenizer.load(source, config)
    ids = np.setdiff1d(np.arange(config.decoder.vocab_size), tokenizer.suppressed_ids)
    if not len(ids):
        raise ModelFormatError(f"{source / TOKENIZER_FILE}: every id is suppressed")
    if config.decoder.head_dim % 8:
        raise ModelFormatError(
            f"{source / CONFIG_FILE}: head_dim is {config.decoder.head_dim}; ONNX Runtime's "
            "attention needs a multiple of 8"
        )
    dest.parent.mkdir(parents=True, exist_ok=True)
    weights = Weights.open(source)
    weights.check(config)
    with tempfile.TemporaryDirectory(prefix=f".{dest.name}.", dir=dest.parent) as made:
        folder = Path(made) / "package"
        folder.mkdir()
        steps = config.encoder.layers + config.decoder.layers + 2
        count = 0

        def done() -> None:
            nonlocal count
            count += 1
            if progress:
                progress(count / steps)

        max_positions = min(config.decoder.max_positions, MAX_POSITIONS)
        with DataFile(folder / DATA_FILE) as data:
            embedding = _write_embedding(data, weights, precision)
            graph = GraphBuilder("encoder", data)
            EncoderGraph(graph, config, weights, linears.encoder, done).build()
            graph.save(folder / ENCODER_FILE)
            graph = GraphBuilder("decoder", data)
            DecoderGraph(
                graph, config.decoder, weights, linears.decoder, linears.head, ids, max_positions,
                done,
            ).build()  # fmt: skip
            graph.save(folder / DECODER_FILE)
        for copied in _COPIED:
            if (source / copied).is_file():
                shutil.copyfile(source / copied, folder / copied)
        manifest = Manifest(
            name=name or source.resolve().name,
            precision=precision,
            max_positions=max_positions,
            output_ranges=id_ranges(ids),
            embedding=embedding,
            source=Source(source.resolve().name, _hash_weights(weights)),
            licence=licence,
            files={path.name: hash_file(path) for path in sorted(folder.iterdir())},
        )
        manifest.save(folder)
        if dest.exists():
            shutil.rmtree(dest)
        folder.rename(dest)
    return manifest


def _write_embedding(data: DataFile, weights: Weights, precision: Precision) -> EmbeddingTable:
    # Half precision holds a bfloat16 weight exactly down to 2^-14 and to 3e-8 below; quantising the
    # layers behind it costs far more than that.
    dtype = np.dtype(np.float32 if precision == "fp32" else np.float16)
    table = weights[EMBEDDING]
    rows, columns = table.shape
    return EmbeddingTable(data.append(table.astype(dtype, copy=False)), dtype.name, rows, columns)


def _hash_weights(weights: Weights) -> str:
    """SHA-256 of the weights file; of the hashes of all files, in order of name, if sharded."""
    hashes = [hash_file(path).sha256 for path in weights.files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

"""What packages are made of: folders of weights, opened and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ark_asr.errors import ModelFormatError
from ark_asr.graphs.llm_kv import LlmKvWeights
from ark_asr.graphs.quantize import Matrix
from ark_asr.models.config import CONFIG_FILE, ModelConfig
from ark_asr.models.layouts import layout_of
from ark_asr.models.llm_kv import LlmKvFolder
from ark_asr.models.tokenizer import TOKENIZER_FILE, Tokenizer
from ark_asr.models.weights import Weights
from ark_asr.types import FloatArray, IntArray


class WeightSource(Protocol):
    """The tensors of one model, by their names in the published checkpoint."""

    @property
    def files(self) -> list[Path]:
        """The files that hold them, in order of name."""
        ...

    def __getitem__(self, name: str) -> FloatArray:
        """One tensor in float32."""
        ...

    def matrix(self, name: str) -> Matrix:
        """A weight ``[out, in]`` as it is stored: float32, or int8 with its scales."""
        ...


@dataclass(frozen=True, slots=True)
class Original:
    """A model that can be converted.

    Attributes:
        config: Its numbers; ``tied_head`` says whether to take the embeddings as the head.
        weights: Its tensors.
        output_ids: Ids that may be chosen, int64, ascending.
        int8: Its layers have been rounded to int8 already.
    """

    config: ModelConfig
    weights: WeightSource
    output_ids: IntArray
    int8: bool = False


def open_original(folder: Path) -> Original:
    """Open a checkpoint, or an ONNX package in the publisher's layout.

    Raises:
        ModelNotFoundError: A file is missing.
        ModelFormatError: A file is not what it must be, or the folder is of another kind.
    """
    kind = layout_of(folder).kind
    config = ModelConfig.load(folder)
    tokenizer = Tokenizer.load(folder, config)
    if kind == "checkpoint":
        checkpoint = Weights.open(folder)
        checkpoint.check(config)
        ids = np.setdiff1d(np.arange(config.decoder.vocab_size), tokenizer.suppressed_ids)
        found = Original(config, checkpoint, ids)
    elif kind == "llm-kv":
        files = LlmKvFolder.find(folder)
        files.check(tokenizer)
        weights = LlmKvWeights.open(files, config)
        # Its head is stored by itself, quantised, also where the checkpoint's is the embedding.
        config = replace(config, decoder=replace(config.decoder, tied_head=False))
        found = Original(config, weights, files.output_ids(tokenizer), weights.int8)
    else:
        raise ModelFormatError(
            f"{folder}: is a {kind}; packages are made of checkpoints and of llm-kv folders"
        )
    if not len(found.output_ids):
        raise ModelFormatError(f"{folder / TOKENIZER_FILE}: every id is suppressed")
    if config.decoder.head_dim % 8:
        raise ModelFormatError(
            f"{folder / CONFIG_FILE}: head_dim is {config.decoder.head_dim}; ONNX Runtime's "
            "attention needs a multiple of 8"
        )
    return found

"""Models that are too large for one device: everything spread over all processes (FSDP2).

Each layer of the encoder and of the decoder is a unit of its own: its weights are gathered when it
is their turn, and given back after it. What is left (convolutions, embeddings, norms, the adapter)
is one more unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint as recomputed

from ark_asr.training.learner import Learner

SHARDS = "training_shards"


def layers_of(learner: Learner) -> list[nn.Module]:
    """Layers of the encoder, then of the decoder."""
    model = learner.model
    return [*model.audio_encoder.whisper.layers, *model.model.layers]


def recompute(learner: Learner) -> None:
    """Keep only the input of each layer for the way back, and compute the rest again."""
    for layer in layers_of(learner):
        layer.forward = partial(recomputed, layer.forward, use_reentrant=False)


def shard(learner: Learner) -> None:
    """Spread parameters over all processes, which must have met before.

    They stay float32; mixed precision is autocast's, as without sharding, so that both compute the
    same.
    """
    for layer in layers_of(learner):
        fully_shard(layer)
    fully_shard(learner)


def gather(learner: Learner) -> dict[str, Tensor]:
    """All weights of the model, whole, on the first process's CPU; empty on the others."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = cast("dict[str, Tensor]", get_model_state_dict(learner, options=options))
    begin = "model."
    return {name.removeprefix(begin): t for name, t in state.items() if name.startswith(begin)}


def save_shards(
    folder: Path, learner: Learner, optimisers: Sequence[torch.optim.Optimizer],
    averages: dict[str, Tensor],
) -> None:  # fmt: skip
    """Every process writes its own part (`torch.distributed.checkpoint`)."""
    save_parts(_state(learner, optimisers, averages), checkpoint_id=folder)


def load_shards(
    folder: Path, learner: Learner, optimisers: Sequence[torch.optim.Optimizer],
    averages: dict[str, Tensor],
) -> None:  # fmt: skip
    """Every process reads its own part, whatever the number of processes that wrote them."""
    state = _state(learner, optimisers, averages)
    load_parts(state, checkpoint_id=folder)
    set_state_dict(
        learner, list(optimisers), model_state_dict=state["model"],
        optim_state_dict=state["optimisers"],
    )  # fmt: skip


def _state(
    learner: Learner, optimisers: Sequence[torch.optim.Optimizer], averages: dict[str, Tensor]
) -> dict[str, Any]:
    model, moments = get_state_dict(learner, list(optimisers))
    return {"model": model, "optimisers": moments, "averages": averages}

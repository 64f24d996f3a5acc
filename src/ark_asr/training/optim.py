"""How weights move: two optimisers and one schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training.config import OptimConfig
from ark_asr.training.muon import StackedMuon


def optimisers(
    model: ArkForConditionalGeneration, listening: nn.Module, config: OptimConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers, AdamW for everything else; only for what is trained.

    Muon (Jordan et al., 2024) orthogonalises the momentum of a matrix; ``match_rms_adamw`` gives
    its steps the size of AdamW's, so that both learning rates mean the same. Each group keeps its
    peak rate as ``peak``.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [
        p for name, p in trained
        if p.ndim == 2 and "embed" not in name and p is not model.lm_head.weight
    ]  # fmt: skip
    chosen = {id(p) for p in inner}
    others = [p for p in [*(p for _, p in trained), *listening.parameters()] if id(p) not in chosen]
    matrices = {"params": inner, "peak": config.matrix_rate}
    rest = {"params": others, "peak": config.other_rate, "weight_decay": 0.0}
    made: list[torch.optim.Optimizer] = []
    if inner and config.method == "muon":
        decay = config.weight_decay
        spread = any(isinstance(p, DTensor) for p in inner)  # each process has a part of a matrix
        kind = torch.optim.Muon if spread else StackedMuon
        made.append(kind([matrices], weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    elif inner:
        made.append(_adamw({**matrices, "weight_decay": config.weight_decay}))
    return [*made, _adamw(rest)] if others else made


def _adamw(group: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([group], betas=(0.9, 0.98), fused=True)


def rate_factor(step: int, config: OptimConfig) -> float:
    """Linear warm-up, constant, then cosine to ``floor`` over the last ``decay`` of the run."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = max(config.steps * (1 - config.decay), config.warmup)
    if step < start:
        return 1.0
    done = min((step - start) / max(config.steps - start, 1), 1.0)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * done))


def set_rates(
    optimisers: Sequence[torch.optim.Optimizer], step: int, config: OptimConfig
) -> float:  # fmt: skip
    """Give all optimisers the learning rates of an update; return their share of the peak."""
    factor = rate_factor(step, config)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
    return factor

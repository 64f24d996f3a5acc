"""How weights move: two optimisers and one schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training.config import OptimConfig


def optimisers(
    model: ArkForConditionalGeneration, listening: nn.Module, config: OptimConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers, AdamW for everything else.

    Muon (Jordan et al., 2024) orthogonalises the momentum of a matrix; ``match_rms_adamw`` gives
    its steps the size of AdamW's, so that both learning rates mean the same.
    """
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    if not model.config.decoder.tied_head:
        inner = [p for p in inner if p is not model.lm_head.weight]
    chosen = {id(p) for p in inner}
    others = [p for p in [*model.parameters(), *listening.parameters()] if id(p) not in chosen]
    return [
        torch.optim.Muon(
            inner, lr=config.matrix_rate, weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            others, lr=config.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        ),
    ]  # fmt: skip


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
    """Give both optimisers the learning rates of an update; return their share of the peak."""
    factor = rate_factor(step, config)
    for optimiser, peak in zip(optimisers, (config.matrix_rate, config.other_rate), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = peak * factor
    return factor

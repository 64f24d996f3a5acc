"""Attention as a CPU trains through it quickest."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of ``[batch, heads, time, head_dim]``.

    Args:
        query: What asks.
        key: What is asked, as many heads.
        value: What is told.
        mask: Bool, true where a key may be heard, in any shape that spreads over
            ``[batch, heads, time, keys]``; each query must hear something.
    """
    if query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad:
        return cast(Tensor, _Attend.apply(query, key, value, mask))  # type: ignore[no-untyped-call]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class _Attend(torch.autograd.Function):
    """Whole matrices of weights, kept for the way back.

    PyTorch's fused attention computes its weights a second time on the way back, without the
    processor's matrix units: 18 ms for five clips of 8 s and three heads in bfloat16, where these
    plain products take 10. For minutes of sound at once the fused one would need less memory.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        batch, heads, time, size = query.shape
        query, key, value = (x.reshape(batch * heads, -1, size) for x in (query, key, value))
        scores = torch.bmm(query * size**-0.5, key.transpose(1, 2))
        if mask is not None:
            deaf = torch.zeros(mask.shape, dtype=scores.dtype)
            deaf.masked_fill_(~mask, torch.finfo(scores.dtype).min / 2)
            scores.view(batch, heads, time, -1).add_(deaf)
        weights = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        return torch.bmm(weights, value).view(batch, heads, time, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, weights = cast("tuple[Tensor, ...]", ctx.saved_tensors)  # type: ignore[attr-defined]
        batch, heads, time, size = grad.shape
        grad = grad.reshape(batch * heads, time, size)
        of_value = torch.bmm(weights.transpose(1, 2), grad)
        of_weights = torch.bmm(grad, value.transpose(1, 2))
        # The derivative of softmax in one pass, as softmax itself calls it.
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.bmm(of_scores, key).mul_(size**-0.5)
        of_key = torch.bmm(of_scores.transpose(1, 2), query).mul_(size**-0.5)
        return (
            of_query.view(batch, heads, time, size),
            of_key.view(batch, heads, -1, size),
            of_value.view(batch, heads, -1, size),
            None,
        )

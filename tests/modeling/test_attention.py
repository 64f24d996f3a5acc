"""The attention that is trained through is PyTorch's, forth and back."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ark_asr.modeling.attention import attend


def inputs(dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, 10, 8, dtype=dtype, requires_grad=True) for _ in range(3)]


def masks() -> list[torch.Tensor | None]:
    of_keys = torch.ones(2, 1, 1, 10, dtype=torch.bool)
    of_keys[1, ..., 6:] = False
    return [None, of_keys, torch.ones(10, 10, dtype=torch.bool).tril()]


@pytest.mark.parametrize("mask", masks(), ids=["no mask", "padded", "causal"])
def test_it_is_pytorchs_with_its_gradients(mask: torch.Tensor | None) -> None:
    given = inputs(torch.float64)
    ours = attend(*given, mask)
    assert "Attend" in type(ours.grad_fn).__name__
    theirs = functional.scaled_dot_product_attention(*given, attn_mask=mask)
    torch.testing.assert_close(ours, theirs)
    way = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad(ours, given, way), torch.autograd.grad(theirs, given, way), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_without_gradients_pytorchs_own_is_used() -> None:
    given = inputs(torch.float32)
    with torch.no_grad():
        ours = attend(*given, masks()[1])
    theirs = functional.scaled_dot_product_attention(*given, attn_mask=masks()[1])
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=0)


def test_bfloat16_stays_near() -> None:
    given = inputs(torch.float32)
    exact = functional.scaled_dot_product_attention(*given, attn_mask=masks()[1])
    short = [x.detach().bfloat16().requires_grad_() for x in given]
    near = attend(*short, masks()[1])
    assert near.dtype == torch.bfloat16
    torch.testing.assert_close(near.float(), exact, atol=0.03, rtol=0.03)

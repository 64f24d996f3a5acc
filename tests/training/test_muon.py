"""Many matrices at once move as PyTorch's optimiser moves them one by one."""

from __future__ import annotations

import pytest
import torch

from ark_asr.training.muon import StackedMuon

SHAPES = ((8, 8), (24, 8), (8, 8), (8, 24), (24, 8))


def matrices() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


@pytest.mark.parametrize("adjust", ["match_rms_adamw", "original"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_it_moves_as_pytorchs_does(adjust: str, nesterov: bool) -> None:
    theirs, ours = matrices(), matrices()
    options = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": adjust, "nesterov": nesterov}
    one = torch.optim.Muon(theirs, **options)
    many = StackedMuon(ours, **options)
    for _ in range(4):
        for a, b in zip(theirs, ours, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        one.step()
        many.step()
    for a, b, began in zip(theirs, ours, matrices(), strict=True):
        torch.testing.assert_close(b, a, atol=2e-3, rtol=0)  # bfloat16 inside
        assert (a - began).abs().max() > 0.02


def test_a_matrix_without_gradient_stays_and_state_is_pytorchs() -> None:
    still, moving = matrices()[:2]
    still_was = still.detach().clone()
    ours = StackedMuon([still, moving], lr=0.1)
    moving.grad = torch.ones_like(moving)
    ours.step()
    torch.testing.assert_close(still.detach(), still_was)
    theirs = torch.optim.Muon([still, moving], lr=0.1)
    theirs.load_state_dict(ours.state_dict())
    assert set(theirs.state[moving]) == {"momentum_buffer"}

"""How far a student's next-token distribution is from its teacher's, position by position.

Teacher and student are compared over the ids that both can say, in the student's numbers. With the
sets ``T`` and ``S`` of the ``k`` likeliest ids of each, ``U = T | S`` is the support:

- ``rest = "bucket"``: everything outside of ``U`` is one more event, so the whole distribution is
  compared, only coarsely where neither model looks. It never exceeds the full divergence, and
  equals it once ``U`` is everything.
- ``rest = "renormalise"``: both distributions are renormalised over ``U``, as published (arXiv
  2605.28139). What the student believes outside of ``U`` then costs nothing.

A temperature divides logits before the softmax; the result is multiplied by its square, so that
gradients keep their size (Hinton et al., arXiv 1503.02531).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = Literal["forward", "reverse", "jensen-shannon"]
Rest: TypeAlias = Literal["bucket", "renormalise"]

# A log-probability that is nothing at all but still a number: sums, differences and gradients with
# it stay finite, which those with minus infinity do not.
NEVER = -1e4


@dataclass(frozen=True, slots=True)
class Divergence:
    """What is measured.

    Attributes:
        kind: ``forward`` is KL(teacher || student), ``reverse`` KL(student || teacher),
            ``jensen-shannon`` the generalised one of arXiv 2306.13649.
        top_k: Ids of each model that make the support; 0 for the whole vocabulary.
        temperature: Of both softmaxes.
        rest: What becomes of the ids outside of the support.
        beta: Weight of the teacher in the mixture of ``jensen-shannon``.
    """

    kind: Kind = "forward"
    top_k: int = 32
    temperature: float = 1.0
    rest: Rest = "bucket"
    beta: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the teacher says at each position, in the student's ids.

    Attributes:
        logits: float32 ``[positions, vocabulary]``, ``NEVER`` where not known.
        known: Ids whose value the teacher gave, bool ``[positions, vocabulary]``.
        shared: Ids that both models can say, bool ``[positions, vocabulary]``; ``known`` and, of a
            teacher that shows its likeliest ids only, many more.
        tail: Log-mass of what is shared but not known, float32 ``[positions]``, beside which
            ``logits`` are log-probabilities; ``NEVER`` of a teacher that shows everything.
    """

    logits: Tensor
    known: Tensor
    shared: Tensor
    tail: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A divergence at each position.

    Attributes:
        values: Nats, float32 ``[positions]``; 0 where it does not count.
        counts: Whether there was anything to compare, bool ``[positions]``.
        support: Size of the valid union support, int64 ``[positions]``.
    """

    values: Tensor
    counts: Tensor
    support: Tensor


def measure(student: Tensor, target: Target, how: Divergence) -> Measured:
    """Divergence at each position; gradients flow into the student's logits.

    Args:
        student: Logits float32 ``[positions, vocabulary]``.
        target: The teacher's.
        how: What to measure.
    """
    tau = how.temperature
    q = student.masked_fill(~target.shared, NEVER * tau).div(tau).log_softmax(-1)
    p = target.logits.masked_fill(~target.known, NEVER * tau).div(tau)
    whole = torch.logaddexp(p.logsumexp(-1), target.tail)
    p, tail = p - whole[:, None], target.tail - whole
    if how.top_k:
        ids, valid = union_support(student.detach(), target, how.top_k)
    else:
        ids = torch.arange(q.shape[-1], device=q.device).expand_as(q)
        valid = target.known
    size = valid.sum(-1)
    p_chosen, q_chosen = (x.gather(-1, ids).masked_fill(~valid, NEVER) for x in (p, q))
    if how.rest == "renormalise":
        p, q = p_chosen.log_softmax(-1), q_chosen.log_softmax(-1)
        counts = size > 1  # over a single id there is nothing to compare
    else:
        inside = torch.zeros_like(target.known).scatter(-1, ids, value=True) & target.known
        p_rest = torch.logaddexp(p.masked_fill(inside, NEVER).logsumexp(-1), tail)
        q_rest = q.masked_fill(inside, NEVER).logsumexp(-1)
        left = (target.shared.sum(-1) > size)[:, None]
        p = torch.cat([p_chosen, p_rest[:, None]], -1)
        q = torch.cat([q_chosen, q_rest[:, None]], -1)
        valid = torch.cat([valid, left], -1)
        counts = valid.sum(-1) > 1
    values = between(p, q, valid & counts[:, None], how.kind, how.beta) * tau**2
    return Measured(values, counts, size)


def union_support(student: Tensor, target: Target, top_k: int) -> tuple[Tensor, Tensor]:
    """The likeliest ids of the teacher, then those of the student.

    Returns:
        Ids int64 ``[positions, 2 k]``, and bool of that shape: false for the second of two equal
        ids and for ids of which the teacher gave no value.
    """
    top_k = min(top_k, student.shape[-1])
    by_teacher = target.logits.masked_fill(~target.known, NEVER).topk(top_k).indices
    by_student = student.masked_fill(~target.shared, NEVER).topk(top_k).indices
    twice = (by_student[:, :, None] == by_teacher[:, None, :]).any(-1)
    ids = torch.cat([by_teacher, by_student], -1)
    first = torch.cat([torch.ones_like(twice), ~twice], -1)
    return ids, first & target.known.gather(-1, ids)


def between(p: Tensor, q: Tensor, valid: Tensor, kind: Kind, beta: float = 0.5) -> Tensor:
    """Divergence of log-probabilities ``[..., events]`` over the valid events: ``[...]``."""
    p, q = p.masked_fill(~valid, NEVER), q.masked_fill(~valid, NEVER)
    if kind == "forward":
        return _kl(p, q)
    if kind == "reverse":
        return _kl(q, p)
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)

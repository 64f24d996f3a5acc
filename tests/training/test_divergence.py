"""The divergence against a plain float64 implementation, its gradient, and its invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.training.divergence import NEVER, Divergence, Target, measure, union_support
from ark_asr.training.published import published_divergence

PLACES, IDS = 5, 12


def softmax(values):
    top = max(values.values())
    parts = {i: math.exp(v - top) for i, v in values.items()}
    return {i: part / sum(parts.values()) for i, part in parts.items()}


def best(values, k):
    return set(sorted(values, key=lambda i: -values[i])[:k])


def kl(p, q):
    return sum(p[i] * math.log(p[i] / q[i]) for i in p if p[i] > 0)


def by_hand(student, teacher, shared, how):
    """One place with dictionaries, as the paper writes it down."""
    p = softmax({i: teacher[i] / how.temperature for i in shared})
    q = softmax({i: student[i] / how.temperature for i in shared})
    if how.top_k:
        union = best(p, how.top_k) | best(q, how.top_k)
        inside_p, inside_q = ({i: x[i] for i in union} for x in (p, q))
        if how.rest == "renormalise":
            p, q = ({i: x[i] / sum(x.values()) for i in x} for x in (inside_p, inside_q))
        else:
            rest = set(shared) - union
            p, q = inside_p, inside_q | {"rest": sum(q[i] for i in rest)}
            p["rest"] = 1 - sum(p.values()) if rest else 0.0
    if how.kind == "forward":
        found = kl(p, q)
    elif how.kind == "reverse":
        found = kl(q, p)
    else:
        middle = {i: how.beta * p[i] + (1 - how.beta) * q[i] for i in p}
        found = how.beta * kl(p, middle) + (1 - how.beta) * kl(q, middle)
    return found * how.temperature**2


def dense(teacher, shared):
    tail = torch.full((len(teacher),), NEVER, dtype=teacher.dtype)
    return Target(teacher.masked_fill(~shared, NEVER), shared, shared, tail)


def drawn(seed=0, *, places=PLACES, ids=IDS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, places, ids, generator=generator, dtype=dtype) * 2
    shared = torch.rand(places, ids, generator=generator) < 0.8
    shared[:, 0] = shared[:, 1] = shared[:, 2] = True
    return student, teacher, shared


WAYS = [
    Divergence(kind, top_k, tau, rest, 0.3)
    for kind in ("forward", "reverse", "jensen-shannon")
    for top_k, rest in ((0, "bucket"), (1, "bucket"), (3, "bucket"), (3, "renormalise"))
    for tau in (1.0, 2.5)
]


@pytest.mark.parametrize("how", WAYS, ids=lambda h: f"{h.kind}-{h.top_k}-{h.rest}-{h.temperature}")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_what_the_paper_writes_down(how, dtype):
    student, teacher, shared = drawn(dtype=dtype)
    found = measure(student, dense(teacher, shared), how)
    for place in range(PLACES):
        ids = shared[place].nonzero()[:, 0].tolist()
        expected = by_hand(student[place].tolist(), teacher[place].tolist(), ids, how)
        tight = 1e-9 if dtype == torch.float64 else 2e-4
        assert found.values[place].item() == pytest.approx(expected, rel=tight, abs=tight)
    assert found.counts.all()


@pytest.mark.parametrize("how", WAYS, ids=lambda h: f"{h.kind}-{h.top_k}-{h.rest}-{h.temperature}")
def test_its_gradient_is_its_slope(how):
    student, teacher, shared = drawn(3, places=3, ids=8)
    target = dense(teacher, shared)
    assert torch.autograd.gradcheck(
        lambda logits: measure(logits, target, how).values, student.requires_grad_()
    )


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.permutations(range(IDS)), st.sampled_from(WAYS))
def test_the_order_of_the_ids_does_not_matter(seed, order, how):
    student, teacher, shared = drawn(seed)
    one = measure(student, dense(teacher, shared), how)
    two = measure(student[:, order], dense(teacher[:, order], shared[:, order]), how)
    torch.testing.assert_close(one.values, two.values, atol=1e-9, rtol=1e-9)
    assert torch.equal(one.support, two.support)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 2 * IDS))
def test_a_coarser_look_sees_less(seed, top_k):
    student, teacher, shared = drawn(seed)
    target = dense(teacher, shared)
    whole = measure(student, target, Divergence(top_k=0)).values
    part = measure(student, target, Divergence(top_k=top_k)).values
    assert (part >= -1e-12).all()
    assert (part <= whole + 1e-9).all()
    if top_k >= IDS:
        torch.testing.assert_close(part, whole)


@pytest.mark.parametrize("how", WAYS[::3])
def test_ids_that_only_one_model_has_change_nothing(how):
    student, teacher, shared = drawn()
    wide = torch.nn.functional.pad
    more = dense(wide(teacher, (0, 4), value=9.0), wide(shared, (0, 4)))
    padded = wide(student, (0, 4), value=30.0).requires_grad_()
    found = measure(padded, more, how)
    torch.testing.assert_close(found.values, measure(student, dense(teacher, shared), how).values)
    found.values.sum().backward()
    assert (padded.grad[:, IDS:] == 0).all()
    assert padded.grad.isfinite().all()


@pytest.mark.parametrize("how", WAYS[::2])
def test_equal_models_have_nothing_to_learn(how):
    student, _, shared = drawn()
    found = measure(student.requires_grad_(), dense(student.detach() + 3.0, shared), how)
    assert found.values.abs().max() < 1e-9
    found.values.sum().backward()
    assert student.grad.abs().max() < 1e-9


def test_only_the_bucket_minds_what_the_student_believes_elsewhere():
    teacher = torch.tensor([[4.0, 3.0, -9.0, -9.0]])
    student = torch.tensor([[4.0, 3.0, 2.9, 2.9]], requires_grad=True)
    target = dense(teacher, torch.ones(1, 4, dtype=torch.bool))
    for rest, wanted in (("renormalise", False), ("bucket", True)):
        student.grad = None
        measure(student, target, Divergence(top_k=2, rest=rest)).values.sum().backward()
        assert bool((student.grad[0, 2:] > 1e-3).all()) == wanted


def test_a_list_of_everything_is_everything():
    student, teacher, shared = drawn()
    logprobs = teacher.masked_fill(~shared, -torch.inf).log_softmax(-1)
    tail = torch.full((PLACES,), NEVER, dtype=torch.float64)
    listed = Target(logprobs.masked_fill(~shared, NEVER), shared, shared, tail)
    for how in (Divergence(top_k=3), Divergence(top_k=0), Divergence(top_k=3, rest="renormalise")):
        expected = measure(student, dense(teacher, shared), how)
        torch.testing.assert_close(measure(student, listed, how).values, expected.values)


def test_what_a_list_leaves_out_is_one_event():
    """A list of two of four ids, 0.1 of the teacher's mass elsewhere, all written out."""
    p, q = {0: 0.6, 1: 0.3, "rest": 0.1}, softmax(dict(enumerate([1.0, 0.0, 2.0, -1.0])))
    everything = torch.ones(1, 4, dtype=torch.bool)
    known = torch.tensor([[True, True, False, False]])
    logits = torch.tensor([[math.log(0.6), math.log(0.3), NEVER, NEVER]])
    target = Target(logits, known, everything, torch.tensor([math.log(0.1)]))
    found = measure(torch.tensor([[1.0, 0.0, 2.0, -1.0]]), target, Divergence(top_k=2))
    expected = kl(p, {0: q[0], 1: q[1], "rest": q[2] + q[3]})
    assert found.values.item() == pytest.approx(expected, rel=1e-5)
    assert found.support.item() == 2


def test_a_single_id_that_both_know_does_not_count():
    student, teacher, _ = drawn()
    only = torch.zeros(PLACES, IDS, dtype=torch.bool)
    only[:, 4] = True
    for rest in ("bucket", "renormalise"):
        found = measure(
            student.clone().requires_grad_(), dense(teacher, only), Divergence(rest=rest)
        )
        assert not found.counts.any()
        assert (found.values == 0).all()


def test_the_support_is_a_union():
    student = torch.tensor([[0.0, 5.0, 4.0, 1.0, 0.0]])
    teacher = torch.tensor([[7.0, 6.0, 0.0, 0.0, 1.0]])
    shared = torch.tensor([[True, True, True, True, False]])
    ids, valid = union_support(student, dense(teacher, shared), 2)
    assert sorted(ids[valid].tolist()) == [0, 1, 2]


def published_by_hand(student, teacher, to_student, blocked, chosen, k):
    """The published trainer's arithmetic for one place; see the module."""
    free = {i: v for i, v in enumerate(student) if i not in blocked and i != chosen}
    proposed = [chosen, *sorted(free, key=lambda i: -free[i])][:k]
    top = max(teacher)
    normaliser = top + math.log(sum(math.exp(v - top) for v in teacher))
    values = {i: teacher[i] - normaliser for i in proposed if i < len(teacher)}
    said = {to_student[t]: teacher[t] for t in np.argsort(teacher)[::-1][:k] if to_student[t] >= 0}
    if len(said) < 2:
        return 0.0
    values |= {int(i): v for i, v in said.items()}
    return kl(softmax(values), softmax({i: student[i] for i in values}))


def test_the_published_arithmetic_is_reproduced():
    rng = np.random.default_rng(4)
    student, teacher = rng.normal(0, 2, (30, 9)), rng.normal(3, 2, (30, 11))
    to_student = np.array([3, -1, 0, 2, 1, -1, 5, 4, 7, 8, 6])
    blocked = np.isin(np.arange(9), [6, 8])
    chosen = rng.integers(0, 6, 30)
    found = published_divergence(
        torch.tensor(student), torch.tensor(teacher), to_student=torch.tensor(to_student),
        blocked=torch.tensor(blocked), chosen=torch.tensor(chosen), top_k=3,
    )  # fmt: skip
    for place in range(30):
        expected = published_by_hand(
            student[place].tolist(), teacher[place].tolist(), to_student, {6, 8},
            int(chosen[place]), 3,
        )  # fmt: skip
        assert found.values[place].item() == pytest.approx(expected, abs=1e-9)


def test_both_agree_where_the_published_faults_have_no_effect():
    """One vocabulary, and teacher logits that are log-probabilities already."""
    student, teacher, _ = drawn()
    teacher = teacher.log_softmax(-1)
    everything = torch.ones(PLACES, IDS, dtype=torch.bool)
    arguments = {
        "to_student": torch.arange(IDS), "blocked": torch.zeros(IDS, dtype=torch.bool),
        "chosen": student.argmax(-1), "top_k": 3,
    }  # fmt: skip
    ours = measure(student, dense(teacher, everything), Divergence(top_k=3, rest="renormalise"))
    theirs = published_divergence(student, teacher, **arguments)
    torch.testing.assert_close(theirs.values, ours.values)
    # With raw logits they differ: that is fault (a).
    raw = published_divergence(student, teacher + 5.0, **arguments)
    assert (raw.values - ours.values).abs().max() > 1e-2

"""Two tokenisations of one text are compared at common boundaries, and nowhere else."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from ark_asr.training.alignment import Pair, align, readable


@st.composite
def cut(draw, text):
    """The bytes of a text, cut into pieces at random."""
    data = text.encode()
    places = st.integers(1, max(len(data) - 1, 1))
    marks = sorted(draw(st.sets(places, max_size=len(data)))) if len(data) > 1 else []
    edges = [0, *marks, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@st.composite
def two_cuts(draw):
    text = draw(st.text(max_size=30))
    return draw(cut(text)), draw(cut(text))


@given(two_cuts())
def test_every_common_boundary_is_found_and_nothing_else(pieces):
    student, teacher = pieces
    pairs = align(student, teacher)
    for pair in pairs:
        assert b"".join(student[: pair.student]) == b"".join(teacher[: pair.teacher])
    ends = [{0, *accumulate(map(len, side))} for side in (student, teacher)]
    assert len(pairs) == len(ends[0] & ends[1])
    assert pairs[0] == Pair(0, 0)
    assert pairs[-1] == Pair(len(student), len(teacher))
    for one, two in pairwise(pairs):
        assert two.student > one.student
        assert two.teacher > one.teacher


@given(st.text(max_size=20).flatmap(cut))
def test_equal_pieces_are_compared_at_every_place(pieces):
    assert align(pieces, pieces) == [Pair(i, i) for i in range(len(pieces) + 1)]


@given(two_cuts(), st.binary(max_size=6), st.binary(max_size=6))
def test_nothing_is_compared_behind_a_difference(pieces, one, two):
    student, teacher = [*pieces[0], b"x", one], [*pieces[1], b"y", two]
    kept = align(student, teacher)
    text = b"".join(pieces[0])
    assert all(len(b"".join(student[: pair.student])) <= len(text) for pair in kept)


@given(two_cuts())
def test_a_space_in_front_shifts_all_but_the_beginning(pieces):
    student, teacher = pieces
    spaced = [b" " + teacher[0], *teacher[1:]] if teacher else []
    assert align(student, spaced, b" ") == align(student, teacher)


def test_another_tokenisation():
    student = [b"hel", b"lo", b" wor", b"ld"]
    teacher = [b"hello", b" world"]
    assert align(student, teacher) == [Pair(0, 0), Pair(2, 1), Pair(4, 2)]


def test_a_normalised_text_is_followed_as_far_as_it_is_the_same():
    student = [b"caf", "e\u0301".encode(), b" au"]
    teacher = [b"caf", "\u00e9".encode(), b" au"]
    assert align(student, teacher) == [Pair(0, 0), Pair(1, 1)]


def test_nothing_written_is_still_one_place():
    assert align([], []) == [Pair(0, 0)]
    assert align([], [], b" ") == [Pair(0, 0)]


@given(st.text(max_size=20), st.integers(0, 3))
def test_a_torn_character_is_left_out(text, missing):
    data = text.encode()
    whole = readable(data[: len(data) - missing])
    assert text.startswith(whole)
    assert len(data) - len(whole.encode()) <= missing + 3

"""Ids of two vocabularies, and a teacher's answer in the student's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ark_asr.errors import ModelFormatError
from ark_asr.models.tokenizer import Tokenizer as ArkTokenizer
from ark_asr.training.alignment import Pair
from ark_asr.training.bridge import Bridge
from ark_asr.training.divergence import NEVER, Divergence, measure
from ark_asr.training.teachers.ark import ark_vocabulary
from ark_asr.training.teachers.base import Scores
from ark_asr.training.vocabulary import Vocabulary

END = b"end"


@dataclass
class Answers:
    """A teacher that only has a vocabulary."""

    vocabulary: Vocabulary
    lead: bytes = b""
    sample_rate: int = 16_000

    def encode(self, text):
        return [self.vocabulary.pieces.index(bytes([b])) for b in self.lead + text.encode()]

    def score(self, sounds, texts):
        raise NotImplementedError


def vocabulary(*pieces):
    ends = [i for i, piece in enumerate(pieces) if piece is END]
    return Vocabulary(tuple(None if p is END else p for p in pieces), frozenset(ends))


STUDENT = vocabulary(b"a", b"b", b"ab", None, b" a", END, b"c")
TEACHER = vocabulary(END, b"b", b" a", b"bb", b"a", None, END, b"c")
#       student id:  a->4  b->1  ab->-  None  " a"->2  end->{0, 6}  c->7


def test_twins_stand_for_the_same_bytes():
    assert TEACHER.read_as(STUDENT) == {4: 0, 1: 1, 2: 4, 7: 6}
    assert TEACHER.read_as(STUDENT, lead=b" ") == {2: 0}


def test_a_teacher_in_plain_words():
    written = vocabulary(
        b" Hello", b" hello", b",", b" ...", b" ", b"'s", b"\xc3", b" \xc3\x84h", END
    )
    assert written.plain().pieces == (
        b" hello", b" hello", None, None, b" ", b"'s", b"\xc3", b" \xc3\xa4h", None,
    )  # fmt: skip
    assert written.plain().end_ids == written.end_ids


CASED = vocabulary(b"a", b"A", END, b".", b" A", b" ab", b"b", b" x")


def test_ids_that_say_the_same_in_plain_words_are_one():
    bridge = Bridge(STUDENT, Answers(CASED.plain(), lead=b" "), "cpu")
    logits = torch.tensor([[0.1, 0.7, -1.0, 3.0, 0.4, 2.0, 0.3, -0.5]] * 2)
    said = logits[0].exp().tolist()
    within = bridge.bring([Scores(logits)], [[Pair(1, 1)]])
    row = within.target.logits[0].exp()
    assert row[0].item() == pytest.approx(said[0] + said[1], rel=1e-5)  # a, A
    assert row[4].item() == pytest.approx(said[4], rel=1e-5)  # " A" is " a"
    assert within.target.shared[0].tolist() == [True, True, False, False, True, True, False]
    # The full stop counts as nothing that could be said; " ab" and " x" have no twin.
    text = sum(said) - said[3]
    assert within.share.item() == pytest.approx(1 - (said[5] + said[7]) / text, rel=1e-5)
    first = bridge.bring([Scores(logits)], [[Pair(0, 0)]]).target
    assert first.shared[0].tolist() == [True, False, True, False, False, True, False]
    assert first.logits[0, 2] == 2.0  # " ab" is "ab" there


def cut(text):
    """The student's tokens, the longest first."""
    ids = []
    while text:
        fits = [i for i, p in enumerate(STUDENT.pieces) if p and text.encode().startswith(p)]
        if not fits:
            return ids
        ids.append(max(fits, key=lambda i: len(STUDENT.pieces[i])))
        text = text[len(STUDENT.pieces[ids[-1]]) :]
    return ids


def test_the_first_piece_of_a_longer_word_stands_for_it():
    bridge = Bridge(STUDENT, Answers(CASED, lead=b" "), "cpu", cut)
    logits = torch.arange(8.0).repeat(2, 1)
    said = logits[0].exp()
    within = bridge.bring([Scores(logits)], [[Pair(1, 1)]])
    # " ab" begins with " a"; " x", " A" and "A" begin with nothing that the student has.
    assert within.target.logits[0, 4].item() == pytest.approx(5.0)
    assert within.target.shared[0].tolist() == [True, True, False, False, True, True, False]
    lost = said[1] + said[3] + said[4] + said[7]
    assert within.share.item() == pytest.approx(1 - (lost / said.sum()).item(), rel=1e-5)
    first = bridge.bring([Scores(logits)], [[Pair(0, 0)]]).target
    assert first.logits[0, 2] == 5.0  # "ab" in one
    both = Bridge(STUDENT, Answers(vocabulary(b" a", b" ab", b" ac", END)), "cpu", cut)
    target = both.bring([Scores(logits[:, :4])], [[Pair(1, 1)]]).target
    assert target.logits[0, 4].item() == pytest.approx(said[:3].sum().log().item(), rel=1e-5)


def test_an_answer_is_brought_over_id_by_id():
    bridge = Bridge(STUDENT, Answers(TEACHER), "cpu")
    logits = torch.tensor([[0.5, 1.0, 1.5, 2.0, 2.5, 9.0, -0.5, 0.25]])
    brought = bridge.bring([Scores(logits)], [[Pair(0, 0)]])
    row = brought.target.logits[0]
    said = logits[0].tolist()
    assert row[[0, 1, 4, 6]].tolist() == [said[4], said[1], said[2], said[7]]
    assert row[5].item() == pytest.approx(math.log(math.exp(said[0]) + math.exp(said[6])))
    assert brought.target.shared[0].tolist() == [True, True, False, False, True, True, True]
    assert (row[[2, 3]] == NEVER).all()
    # "bb" has no twin; the control token in place 5 is not text and does not count.
    text = [math.exp(v) for i, v in enumerate(said) if i != 5]
    assert brought.share.item() == pytest.approx(1 - math.exp(said[3]) / sum(text), rel=1e-5)


def test_the_first_word_of_a_teacher_that_begins_with_a_space():
    bridge = Bridge(STUDENT, Answers(TEACHER, lead=b" "), "cpu")
    logits = torch.arange(8.0).repeat(2, 1)
    target = bridge.bring([Scores(logits)], [[Pair(0, 0), Pair(1, 1)]]).target
    assert target.shared[0].tolist() == [True, False, False, False, False, True, False]
    assert target.logits[0, 0] == 2.0  # " a" there is "a" here
    assert target.logits[1, 0] == 4.0
    assert bridge.pairs([0, 1], [2, 1], places=3) == [Pair(0, 0), Pair(1, 1), Pair(2, 2)]


def test_a_list_of_likely_ids_is_the_same_answer_less_its_tail():
    bridge = Bridge(STUDENT, Answers(TEACHER), "cpu")
    logits = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    logits[:, [3, 5]] = -30.0  # what the student lacks
    pairs = [[Pair(i, i) for i in range(4)]]
    dense = bridge.bring([Scores(logits)], pairs)
    values, ids = logits.log_softmax(-1).topk(8)
    padded = torch.nn.functional.pad(ids, (0, 2), value=-1)
    listed = bridge.bring(
        [Scores(torch.nn.functional.pad(values, (0, 2), value=NEVER), padded)], pairs
    )
    student = torch.randn(4, 7)
    for how in (Divergence(top_k=2), Divergence(top_k=0), Divergence("reverse", top_k=3)):
        one, two = (measure(student, b.target, how).values for b in (dense, listed))
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(listed.share, dense.share, atol=1e-4, rtol=1e-4)
    short = bridge.bring([Scores(values[:, :2], ids[:, :2])], pairs).target
    assert (short.known.sum(-1) <= 2).all()
    assert torch.equal(short.shared, dense.target.shared)
    assert (short.tail > NEVER / 2).all()


def test_an_id_that_no_tokenizer_knows_is_none():
    """Logits may have more columns than a tokenizer has tokens, and a server lists any of them."""
    bridge = Bridge(STUDENT, Answers(TEACHER), "cpu")
    values = torch.tensor([[0.5, 0.3, 0.15]]).log()
    beyond = len(TEACHER.pieces) + 1 + 4  # "a" is 4
    target = bridge.bring([Scores(values, torch.tensor([[1, 7, beyond]]))], [[Pair(0, 0)]]).target
    assert target.known[0].nonzero()[:, 0].tolist() == [1, 6]  # "b" and "c"
    assert target.logits[0, [1, 6]].exp().tolist() == pytest.approx([0.5, 0.3])
    assert target.tail.exp().item() == pytest.approx(0.2, rel=1e-5)


def test_the_way_back():
    bridge = Bridge(STUDENT, Answers(TEACHER), "cpu")
    assert bridge.to_student.tolist() == [5, 1, 4, -1, 0, -1, 5, 6]


def test_a_text_is_told_again_in_the_teachers_pieces():
    bridge = Bridge(STUDENT, Answers(TEACHER), "cpu")
    assert not bridge.same
    assert bridge.retell([2, 6]) == [4, 1, 7]  # "ab", "c"
    same = Bridge(STUDENT, Answers(STUDENT), "cpu")
    assert same.retell([2, 6]) == [2, 6]


def test_vocabularies_without_a_common_piece():
    with pytest.raises(ModelFormatError, match="in common"):
        Bridge(vocabulary(b"x", END), Answers(vocabulary(b"y", END)), "cpu")


def test_pieces_of_a_byte_level_tokenizer(byte_checkpoint):
    tokenizer = ArkTokenizer.load(byte_checkpoint)
    ids = ark_vocabulary(tokenizer)
    text = "Ein caf\u00e9 \u2014 \U0001f600!"
    assert b"".join(ids.spell(tokenizer.encode(text))) == text.encode()
    assert ids.end_ids == {tokenizer.id_of("<|im_end|>")}
    assert all(ids.pieces[i] is None for i in tokenizer.suppressed_ids)
    assert sum(piece is not None for piece in ids.pieces) == 256


def test_added_text_is_text_and_markers_are_not():
    raw = Tokenizer(models.BPE({"a": 0, "\u0120a": 1}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([AddedToken("please"), AddedToken("<note>")])
    raw.add_special_tokens([AddedToken("[END]", special=True)])
    ids = Vocabulary.read(raw, 6, end_ids=[4])
    assert ids.pieces == (b"a", b" a", b"please", None, None, None)


def test_a_tokenizer_of_another_kind_is_refused():
    raw = Tokenizer(models.BPE({"a": 0}, []))
    raw.decoder = decoders.Metaspace()
    with pytest.raises(ModelFormatError, match="byte-level"):
        Vocabulary.read(raw, 1, end_ids=[])

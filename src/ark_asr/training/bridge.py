"""From a teacher's ids to the student's, at the places where both have written the same text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ark_asr.errors import ModelFormatError
from ark_asr.training.alignment import Pair, align, readable
from ark_asr.training.divergence import NEVER, Target
from ark_asr.training.teachers.base import Scores, Teacher
from ark_asr.training.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Brought:
    """What a teacher says, ready to be compared.

    Attributes:
        target: One row per pair, clip after clip.
        share: Probability that the teacher gives to ids which the student has too, of all that is
            text or its end, float32 ``[pairs]``. The rest has no twin and is left out: the target
            is what the teacher would say if it had to say something that the student can.
    """

    target: Target
    share: Tensor


class Bridge:
    """Between one student and one teacher.

    Args:
        student: The student's ids; it has one end.
        teacher: Who is asked.
        device: Where the comparison is made.
        cut: How the student cuts a text. Then an id of the teacher stands for the student's first
            token of it; without, for the one with the same bytes.

    Attributes:
        same: Both have the very same ids, so that the teacher can read the student's own tokens.

    Raises:
        ModelFormatError: The two have nothing to say to each other.
    """

    def __init__(
        self, student: Vocabulary, teacher: Teacher, device: str,
        cut: Callable[[str], Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.device = student, teacher, device
        other = teacher.vocabulary
        self.same = student == other
        (self.end,) = student.end_ids
        found = [
            other.begins(student, cut, lead) if cut else other.read_as(student, lead)
            for lead in (b"", teacher.lead)
        ]
        if not found[0]:
            raise ModelFormatError("teacher and student have no piece of text in common")
        # Within a text, and at its very beginning.
        self._to_student = [_table(twins, len(other.pieces), device) for twins in found]
        self._to_teacher: list[Tensor] | None = None
        if all(len(set(twins.values())) == len(twins) for twins in found):
            back = ({ours: theirs for theirs, ours in twins.items()} for twins in found)
            self._to_teacher = [_table(twins, len(student.pieces), device) for twins in back]
        texts = [i for i, piece in enumerate(other.pieces) if piece or i in other.end_ids]
        self._sayable = torch.zeros(len(other.pieces), dtype=torch.bool, device=device)
        self._sayable[texts] = True

    @property
    def to_student(self) -> Tensor:
        """Student id of each teacher id, int64 ``[teacher ids]``, -1 where there is none."""
        found = self._to_student[0].clone()
        found[list(self.teacher.vocabulary.end_ids)] = self.end
        return found

    def retell(self, token_ids: Sequence[int]) -> list[int]:
        """A text of the student in the teacher's ids."""
        if self.same:
            return list(token_ids)
        return self.teacher.encode(readable(b"".join(self.student.spell(token_ids))))

    def pairs(self, student: Sequence[int], teacher: Sequence[int], places: int) -> list[Pair]:
        """Where both have written the same.

        Args:
            student: A text in the student's ids.
            teacher: The same in the teacher's.
            places: For how many places the teacher has an answer.
        """
        theirs = self.teacher.vocabulary.spell(teacher)
        found = align(self.student.spell(student), theirs, self.teacher.lead)
        return [pair for pair in found if pair.teacher < places]

    def bring(self, scores: Sequence[Scores], pairs: Sequence[Sequence[Pair]]) -> Brought:
        """The teacher's answers at all pairs, in the student's ids.

        Args:
            scores: The teacher's answer for each clip.
            pairs: The pairs of each clip.
        """
        values, known, listed = self._rows(scores, pairs)
        at_start = torch.tensor(
            [p.teacher == 0 for clip in pairs for p in clip], device=self.device
        )
        logits, shared = self._in_students_ids(values, at_start)
        known_here = logits > NEVER / 2 if listed else shared.clone()

        ends = list(self.teacher.vocabulary.end_ids)
        logits[:, self.end] = values[:, ends].logsumexp(-1)
        known_here[:, self.end] = known[:, ends].any(-1)
        shared[:, self.end] = True
        logits = logits.masked_fill(~known_here, NEVER)

        sayable = values.masked_fill(~self._sayable, NEVER).logsumexp(-1)
        ours = logits.logsumexp(-1)
        if listed:
            # What is not in the list could be said by both: there is no knowing.
            tail = torch.log1p(-values.logsumexp(-1).exp().clamp(max=1 - 1e-6))
            share = torch.logaddexp(ours, tail) - torch.logaddexp(sayable, tail)
        else:
            tail = torch.full_like(ours, NEVER)
            share = ours - sayable
        return Brought(Target(logits, known_here, shared, tail), share.exp())

    def _in_students_ids(self, values: Tensor, at_start: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``[pairs, student ids]``, those of several ids as one; and which there are."""
        size = len(self.student.pieces)
        if self._to_teacher is not None:
            index = torch.where(at_start[:, None], self._to_teacher[1], self._to_teacher[0])
            shared = index >= 0
            return values.gather(-1, index.clamp(min=0)).masked_fill(~shared, NEVER), shared
        logits = values.new_empty(len(values), size)
        shared = torch.zeros_like(logits, dtype=torch.bool)
        for rows, to_student in zip((~at_start, at_start), self._to_student, strict=True):
            logits[rows] = _summed(values[rows], to_student, size)
            there = torch.zeros(size, dtype=torch.bool, device=self.device)
            there[to_student[to_student >= 0]] = True
            shared[rows] = there
        return logits, shared

    def _rows(
        self, scores: Sequence[Scores], pairs: Sequence[Sequence[Pair]]
    ) -> tuple[Tensor, Tensor, bool]:
        """The teacher's values ``[pairs, teacher ids]``, which are known, and if only a list is."""
        chosen, listed = [], False
        for answer, clip in zip(scores, pairs, strict=True):
            rows = torch.tensor([pair.teacher for pair in clip], dtype=torch.long)
            logits = answer.logits[rows.to(answer.logits.device)].to(self.device)
            if answer.token_ids is not None:
                listed = True
                ids = answer.token_ids[rows.to(answer.token_ids.device)].to(self.device)
                whole = logits.new_full((len(rows), len(self._sayable) + 1), NEVER)
                # What is no id, or none of its tokenizer (models have more columns than tokens),
                # goes into a column of its own, which is then dropped.
                none = len(self._sayable)
                ids = ids.where((ids >= 0) & (ids < none), none)
                logits = whole.scatter(-1, ids, logits)[:, :-1]
            chosen.append(logits)
        values = torch.cat(chosen)
        known = values > NEVER / 2 if listed else torch.ones_like(values, dtype=torch.bool)
        return values, known, listed


def _table(ids: dict[int, int], size: int, device: str) -> Tensor:
    """A mapping as int64 ``[size]``, -1 for what is not in it."""
    table = torch.full((size,), -1)
    table[list(ids)] = torch.tensor(list(ids.values()), dtype=torch.long)
    return table.to(device)


def _summed(values: Tensor, to_student: Tensor, size: int) -> Tensor:
    """Logarithm of the sum over all ids of the teacher that are one of the student's."""
    # What is no id of the student goes into a column of its own, which is then dropped.
    index = to_student.where(to_student >= 0, size).expand_as(values)
    most = values.new_full((len(values), size + 1), NEVER).scatter_reduce(1, index, values, "amax")
    total = torch.zeros_like(most).scatter_add(1, index, (values - most.gather(1, index)).exp())
    return (most + total.clamp(min=1).log())[:, :size]

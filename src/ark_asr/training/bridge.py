"""From a teacher's ids to the student's, at the places where both have written the same text."""

from __future__ import annotations

from collections.abc import Sequence
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

    Attributes:
        same: Both have the very same ids, so that the teacher can read the student's own tokens.

    Raises:
        ModelFormatError: The two have nothing to say to each other.
    """

    def __init__(self, student: Vocabulary, teacher: Teacher, device: str) -> None:
        self.student, self.teacher, self.device = student, teacher, device
        other = teacher.vocabulary
        self.same = student == other
        (self.end,) = student.end_ids
        self._maps = []
        for lead in (b"", teacher.lead):
            twins = student.twins(other, lead)
            to_teacher = torch.full((len(student.pieces),), -1)
            to_teacher[list(twins)] = torch.tensor(list(twins.values()), dtype=torch.long)
            self._maps.append(to_teacher.to(device))
        if not (self._maps[0] >= 0).any():
            raise ModelFormatError("teacher and student have no piece of text in common")
        texts = [i for i, piece in enumerate(other.pieces) if piece or i in other.end_ids]
        self._sayable = torch.zeros(len(other.pieces), dtype=torch.bool, device=device)
        self._sayable[texts] = True

    @property
    def to_student(self) -> Tensor:
        """Student id of each teacher id, int64 ``[teacher ids]``, -1 where there is none."""
        back = torch.full((len(self.teacher.vocabulary.pieces),), -1, device=self.device)
        ours = (self._maps[0] >= 0).nonzero()[:, 0]
        back[self._maps[0][ours]] = ours
        for end in self.teacher.vocabulary.end_ids:
            back[end] = self.end
        return back

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
        to_teacher = torch.where(at_start[:, None], self._maps[1], self._maps[0])
        shared = to_teacher >= 0
        index = to_teacher.clamp(min=0)
        logits = values.gather(-1, index).masked_fill(~shared, NEVER)
        known_here = known.gather(-1, index) & shared

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
                # -1 writes into a column of its own, which is then dropped.
                logits = whole.scatter(-1, ids % whole.shape[-1], logits)[:, :-1]
            chosen.append(logits)
        values = torch.cat(chosen)
        known = values > NEVER / 2 if listed else torch.ones_like(values, dtype=torch.bool)
        return values, known, listed

"""The loss of the published trainer, faults included, to compare with.

It differs from `divergence` in what follows (docs/distillation.md says why that matters):

- The teacher's likeliest ids keep their raw logits, while ids that only the student proposes get
  log-probabilities. In one softmax the latter are smaller by the missing log-normaliser.
- Those log-probabilities are looked up under the student's number of an id as if it were the
  teacher's.
- Ids without a twin are dropped, and the rest of both distributions with them.
- The mean is over the positions of one batch of one process, whatever their number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ark_asr.training.divergence import NEVER, Measured, between


def published_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    to_student: Tensor,
    blocked: Tensor,
    chosen: Tensor,
    top_k: int,
    temperature: float = 1.0,
) -> Measured:
    """KL(teacher || student) over the union of both top-k sets as the published trainer has it.

    Args:
        student: Logits float32 ``[positions, student ids]``; gradients flow into them.
        teacher: Logits float32 ``[positions, teacher ids]``.
        to_student: Student id of each teacher id, int64 ``[teacher ids]``; -1 if it has none.
        blocked: Ids that the student does not propose (control and stop ids), bool
            ``[student ids]``.
        chosen: The id that the student chose, int64 ``[positions]``; it is always proposed.
        top_k: Ids proposed by each model.
        temperature: Of both softmaxes; the result is multiplied by its square.
    """
    k = min(top_k, student.shape[-1], teacher.shape[-1])
    with torch.no_grad():
        scores = student.detach().masked_fill(blocked, -torch.inf)
        by_student = scores.scatter(-1, chosen[:, None], torch.inf).topk(k).indices
        in_reach = by_student < teacher.shape[-1]
        looked_up = by_student.clamp(max=teacher.shape[-1] - 1)
        student_values = teacher.log_softmax(-1).gather(-1, looked_up)
        proposed = scores.gather(-1, by_student).isfinite() | (by_student == chosen[:, None])

        teacher_values, found = teacher.topk(k)
        by_teacher = to_student[found]
        known = by_teacher >= 0
        # A row in which the teacher has fewer than two ids to offer is left empty.
        known &= known.sum(-1, keepdim=True) > 1

        same = (by_student[:, :, None] == by_teacher[:, None, :]) & known[:, None, :]
        ids = torch.cat([by_student, by_teacher.clamp(min=0)], -1)
        values = torch.cat([student_values, teacher_values], -1)
        # The teacher's own value is preferred.
        valid = torch.cat([proposed & in_reach & ~same.any(-1), known], -1)
        size = valid.sum(-1)
        counts = (size > 1) & known.any(-1)
        valid &= counts[:, None]
        p = (values / temperature).masked_fill(~valid, NEVER).log_softmax(-1)
    q = (student.gather(-1, ids) / temperature).masked_fill(~valid, NEVER).log_softmax(-1)
    return Measured(between(p, q, valid, "forward") * temperature**2, counts, size)

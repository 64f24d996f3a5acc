"""Updates that would do harm are skipped, and a run that only has such updates stops."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

from ark_asr.errors import TrainingError

_KNOWN = 100  # norms from which the usual one is taken
_ENOUGH = 20


class Guard:
    """Watches the gradient's norm, and whether there is a gradient at all.

    Args:
        explode: A norm so many times larger than the median of late is too large; 0: none is.
        give_up: So many skipped updates in a row are the end.
        norms: Those of late, from `state` of a run that goes on.
        row: Updates skipped in a row, likewise.
        total: Updates skipped in all, likewise.
    """

    def __init__(
        self, explode: float, give_up: int, *,
        norms: Sequence[float] = (), row: int = 0, total: int = 0,
    ) -> None:  # fmt: skip
        self.explode, self.give_up = explode, give_up
        self.norms = deque(norms, maxlen=_KNOWN)
        self.row, self.total = row, total

    def objection(self, norm: float, learnt_from: float) -> str | None:
        """Why an update with this gradient must be skipped; ``None`` if it need not.

        Args:
            norm: Of the gradient.
            learnt_from: Tokens or places that it is of. Without any it is zero, which would still
                let momentum and weight decay move the weights, and be taken for a usual one.

        Raises:
            TrainingError: It is one too many in a row.
        """
        why = None
        usual = median(self.norms) if len(self.norms) >= _ENOUGH else math.inf
        if learnt_from == 0:
            why = "there was nothing to learn from"
        elif not math.isfinite(norm):
            why = "the gradient is not finite"
        elif self.explode and norm > self.explode * usual:
            why = f"the gradient's norm is {norm:.3g}, usually {usual:.3g}"
        else:
            self.norms.append(norm)
        self.row = self.row + 1 if why else 0
        self.total += bool(why)
        if self.row >= self.give_up:
            raise TrainingError(
                f"{self.row} updates in a row were skipped, at last because {why}; go on from the "
                "latest checkpoint (--resume) with lower rates, or look for what is in the data"
            )
        return why

    def state(self) -> dict[str, list[float] | int]:
        """What a run needs to go on, as keyword arguments."""
        return {"norms": list(self.norms), "row": self.row, "total": self.total}

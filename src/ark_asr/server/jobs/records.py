"""What is known of a long job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ark_asr.types import Progress

Status: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
OVER = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        id: Its name, which nobody can guess.
        number: Jobs are counted as they come.
        owner: Who sent it: the name of a key, or an address.
        created: Seconds since 1970.
        filename: Name of the recording, as it was sent.
        model: Name of the model, as it was asked for.
        status: How far it is.
        done: Seconds of the recording that are transcribed.
        total: Seconds of the recording, once they are known.
        clips: Pieces that are done.
        error: Why it failed, in OpenAI's shape.
    """

    id: str
    number: int
    owner: str
    created: float
    filename: str
    model: str
    status: Status = "queued"
    done: float = 0.0
    total: float | None = None
    clips: int = 0
    error: Mapping[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in OVER

    def record(self, position: int | None = None, run: Progress | None = None) -> dict[str, Any]:
        """As clients see it.

        Args:
            position: Its place among those that wait, from 1.
            run: How fast it goes, if it is running.
        """
        found: dict[str, Any] = {
            "id": self.id,
            "object": "transcription.job",
            "status": self.status,
            "created_at": int(self.created),
            "filename": self.filename,
            "model": self.model,
            "seconds_done": round(self.done, 3),
            "seconds_total": None if self.total is None else round(self.total, 3),
            "queue_position": position,
            "error": self.error,
        }
        if self.status == "running":
            left = None if run is None else run.left
            found["speed"] = None if run is None else round(run.speed, 2)
            found["seconds_left"] = None if left is None else round(left, 1)
        return found


def in_turn(waiting: Iterable[Job], running: Iterable[Job]) -> list[Job]:
    """Jobs in the order in which they will begin: everybody's first one, everybody's second, ...

    Whoever has some running already comes so much later; among equals, who came first.
    """
    had = Counter(job.owner for job in running)
    turns = []
    for job in sorted(waiting, key=lambda job: job.number):
        turns.append((had[job.owner], job.number, job))
        had[job.owner] += 1
    return [job for _, _, job in sorted(turns, key=lambda turn: turn[:2])]

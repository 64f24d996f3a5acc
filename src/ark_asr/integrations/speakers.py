"""Who said it: what is said joined by time to the turns of pyannote or another diarisation.

Labels are those of linnet#8: ``Speaker A``, ``Speaker B``, ... in the order in which people first
speak in this session, and `MULTIPLE` where three or more speak at once. They are made anew for
every session; nothing about a voice is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Protocol

from ark_asr.pipeline.speakers import Speakers, SpeakerTurn, with_letters
from ark_asr.types import Segment

MULTIPLE = "Multiple"
LEAST_AT_ONCE = 3


class Annotation(Protocol):
    """A result of pyannote.audio."""

    def itertracks(self, yield_label: bool = ...) -> Iterable[tuple[Any, Any, str]]:
        """Stretches with ``start`` and ``end`` in seconds, track names, labels."""
        ...


def turns_of(annotation: Annotation) -> list[SpeakerTurn]:
    """The turns of a result of pyannote, under its own labels (``SPEAKER_00``)."""
    return [
        SpeakerTurn(stretch.start, stretch.end, label)
        for stretch, _, label in annotation.itertracks(yield_label=True)
    ]


class SessionSpeakers:
    """The speakers of one session.

    Args:
        turns: In any order; those of different people may overlap. Seconds on the same clock as
            the words.
    """

    def __init__(self, turns: Iterable[SpeakerTurn]) -> None:
        self._turns = with_multiple(with_letters(turns))
        self._speakers = Speakers(self._turns)
        spoken: dict[str, float] = {}
        for turn in self._turns:
            if turn.speaker != MULTIPLE:
                spoken[turn.speaker] = spoken.get(turn.speaker, 0.0) + turn.end - turn.start
        self._dominant = max(spoken, key=spoken.__getitem__, default=None)

    def speaker_at(self, start: float, end: float) -> str | None:
        """Who speaks from ``start`` to ``end``, seconds of the session.

        Whoever speaks for most of that time; `MULTIPLE` if that is three or more at once; far from
        any turn, who speaks most in the whole session, as in cf-voice. ``None`` without any turns.
        """
        return self._speakers.at(start, end) or self._dominant

    def label(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Segments with their speakers, cut where the speaker changes between two words."""
        return self._speakers.label(segments)


def with_multiple(turns: Iterable[SpeakerTurn]) -> list[SpeakerTurn]:
    """The same turns, but where three or more people speak at once nobody's: `MULTIPLE` speaks."""
    ordered = sorted(turns, key=lambda turn: turn.start)
    edges = sorted({edge for turn in ordered for edge in (turn.start, turn.end)})
    found: list[SpeakerTurn] = []
    here: list[SpeakerTurn] = []
    coming = iter(ordered)
    following = next(coming, None)
    for start, end in pairwise(edges):
        while following is not None and following.start <= start:
            here.append(following)
            following = next(coming, None)
        here = [turn for turn in here if turn.end > start]
        names = list(dict.fromkeys(turn.speaker for turn in here))
        crowd = len(names) >= LEAST_AT_ONCE
        found += [SpeakerTurn(start, end, name) for name in ([MULTIPLE] if crowd else names)]
    return found

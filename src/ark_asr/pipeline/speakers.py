"""Who said it: turns of speakers joined to segments and their words by time.

Where the turns come from does not matter: `ark_asr.pipeline.rttm` reads them from a file,
`ark_asr.pipeline.diarize` finds them in the sound. Labels are names for this one recording; nothing
about a voice is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ark_asr.types import Segment, Word

# Seconds: a word in a gap between turns belongs to the nearest one, if that is no farther.
NEAREST = 0.5


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """A stretch in which one person speaks, in seconds of the recording.

    Turns of different people may overlap.
    """

    start: float
    end: float
    speaker: str


def letter(number: int) -> str:
    """``Speaker A`` for 0, ``Speaker Z`` for 25, ``Speaker AA`` for 26."""
    letters = ""
    while number >= 0:
        number, last = divmod(number, 26)
        letters, number = chr(ord("A") + last) + letters, number - 1
    return f"Speaker {letters}"


def with_letters(turns: Iterable[SpeakerTurn]) -> tuple[SpeakerTurn, ...]:
    """The same turns in order of time, their speakers called A, B, ... in order of first speech."""
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
    names = {name: letter(at) for at, name in enumerate(dict.fromkeys(t.speaker for t in ordered))}
    return tuple(replace(turn, speaker=names[turn.speaker]) for turn in ordered)


class Speakers:
    """Tells who speaks at a time.

    Args:
        turns: In any order; they may overlap.
    """

    def __init__(self, turns: Iterable[SpeakerTurn]) -> None:
        joined = sorted(_joined(turns), key=lambda turn: (turn.start, turn.end, turn.speaker))
        self._starts = np.array([turn.start for turn in joined])
        self._ends = np.array([turn.end for turn in joined])
        self._names, self._who = np.unique([turn.speaker for turn in joined], return_inverse=True)

    def at(self, start: float, end: float) -> str | None:
        """Who speaks from ``start`` to ``end``, seconds of the recording.

        The speaker whose turns share most of that time. Where several share equally much (they
        speak at once), the one whose turn began first: that one has the floor. Where nobody speaks,
        the speaker of the nearest turn, the earlier of two; ``None`` if it is farther than
        `NEAREST`.
        """
        if not len(self._starts):
            return None
        shared = np.minimum(self._ends, end) - np.maximum(self._starts, start)  # < 0: a distance
        if shared.max() <= 0:
            nearest = int(shared.argmax())
            return self._name(nearest) if shared[nearest] >= -NEAREST else None
        seconds = np.bincount(self._who, shared.clip(min=0))[self._who]
        return self._name(int(((seconds == seconds.max()) & (shared > 0)).argmax()))

    def label(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Segments with their speakers; one in which the speaker changes is cut between two words.

        No word is lost, changed in its time or moved; to label again changes nothing. A word that
        nobody is near to stays with the word before it, but has no speaker of its own. What is
        known only of the whole segment (raw text, number of tokens, alternatives) stays with its
        first part; confidence and flags are those of each part. A segment without words, or with
        words that do not spell its text, is not cut: its speaker is that of its whole time.
        """
        for segment in segments:
            yield from self._label(segment)

    def _label(self, segment: Segment) -> Sequence[Segment]:
        if not segment.text:
            return [segment]
        words = [replace(word, speaker=self.at(word.start, word.end)) for word in segment.words]
        parts = [(who, [word for word, _ in run]) for who, run in groupby(_filled(words), _second)]
        texts = _texts(segment.text, [run for _, run in parts])
        if not texts:
            who = self.at(segment.start, segment.end)
            return [replace(segment, words=tuple(words), speaker=who)]
        return list(_cut(segment, parts, texts))

    def _name(self, turn: int) -> str:
        return str(self._names[self._who[turn]])


def _joined(turns: Iterable[SpeakerTurn]) -> Iterator[SpeakerTurn]:
    """Each speaker's turns without overlaps among them, so that no time counts twice."""
    last: SpeakerTurn | None = None
    for turn in sorted(turns, key=lambda turn: (turn.speaker, turn.start)):
        if last and last.speaker == turn.speaker and turn.start <= last.end:
            last = replace(last, end=max(last.end, turn.end))
            continue
        if last:
            yield last
        last = turn
    if last:
        yield last


def _filled(words: Sequence[Word]) -> list[tuple[Word, str | None]]:
    """Each word with its speaker, or that of the nearest word before it, else behind it."""
    known = next((word.speaker for word in words if word.speaker), None)
    found = []
    for word in words:
        known = word.speaker or known
        found.append((word, known))
    return found


def _second(pair: tuple[Word, str | None]) -> str | None:
    return pair[1]


def _texts(text: str, parts: Sequence[Sequence[Word]]) -> list[str]:
    """The text cut before the first word of each part; empty if the words do not spell it."""
    at, bounds = 0, []
    for part in parts:
        for index, word in enumerate(part):
            begin = text.find(word.text, at)
            if begin < 0 or text[at:begin].strip():
                return []
            if index == 0:
                bounds.append(begin)
            at = begin + len(word.text)
    if text[at:].strip():
        return []
    ends = [*bounds[1:], len(text)]
    return [text[begin:end].strip() for begin, end in zip(bounds, ends, strict=True)]


def _cut(
    segment: Segment, parts: Sequence[tuple[str | None, Sequence[Word]]], texts: Sequence[str]
) -> Iterator[Segment]:
    last = len(parts) - 1
    for at, ((speaker, words), text) in enumerate(zip(parts, texts, strict=True)):
        part = replace(
            segment,
            start=words[0].start if at else segment.start,
            end=words[-1].end if at < last else segment.end,
            text=text,
            words=tuple(words),
            speaker=speaker,
        )
        yield replace(part, raw_text="", tokens=0, alternatives=()) if at else part

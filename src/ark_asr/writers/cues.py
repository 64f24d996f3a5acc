"""Segments cut into subtitles that can be read: two lines of at most 42 characters each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ark_asr.types import Segment

LINE_CHARACTERS = 42
CUE_LINES = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: when it is shown, in seconds of the recording, and its lines."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Subtitles of segments that have text.

    A segment that is too long for one subtitle becomes several, which share its time by their
    numbers of characters: an estimate, good to about a second on ordinary speech.
    """
    for segment in segments:
        # No space within a line is enough for languages that write none: such a "word" is cut hard.
        lines = textwrap.wrap(segment.text, LINE_CHARACTERS, break_on_hyphens=False)
        groups = [tuple(lines[i : i + CUE_LINES]) for i in range(0, len(lines), CUE_LINES)]
        sizes = [sum(map(len, group)) for group in groups]
        start, shown, duration = segment.start, 0, segment.end - segment.start
        for group, size in zip(groups, sizes, strict=True):
            shown += size
            last = shown == sum(sizes)
            end = segment.end if last else segment.start + duration * shown / sum(sizes)
            yield Cue(start, end, group)
            start = end

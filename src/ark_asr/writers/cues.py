"""Segments cut into subtitles that can be read.

Both where a cue ends and where a line ends is a shortest path: every allowed cut has a price, and
the cheapest sequence of cuts is found by dynamic programming, as in D. E. Knuth and M. F. Plass,
"Breaking paragraphs into lines" (1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ark_asr.types import Segment
from ark_asr.writers.options import SubtitleOptions
from ark_asr.writers.pieces import Piece, columns, cut, ends_clause, ends_sentence, pieces

# A silence that no cue bridges, and one that is as good a place to cut as a comma; seconds.
_LONG_PAUSE = 1.5
_PAUSE = 0.4

# Prices. One cue more costs 1; only their proportions matter.
_AFTER_CLAUSE = 0.5
_AMID_CLAUSE = 2.0
_SECOND_MISSING = 3.0
_ORPHAN = 100.0
_LINE = 10_000.0


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Attributes:
        start: Seconds of the recording.
        end: Seconds of the recording.
        lines: The pieces of each line.
        speaker: Who says it, where speakers were told apart.
    """

    start: float
    end: float
    lines: tuple[tuple[Piece, ...], ...]
    speaker: str | None = None

    @property
    def pieces(self) -> Iterator[Piece]:
        """All pieces in order."""
        return (piece for line in self.lines for piece in line)

    def text(self, show: Callable[[Piece], str] = lambda piece: piece.text) -> str:
        """The lines, each piece as ``show`` writes it."""
        return "\n".join(
            "".join(" " * (piece.spaced and at > 0) + show(piece) for at, piece in enumerate(line))
            for line in self.lines
        )


def cues(segment: Segment, options: SubtitleOptions, *, labelled: bool) -> Iterator[Cue]:
    """Subtitles of one segment, in order, none overlapping another, all inside the segment.

    Args:
        segment: What was said.
        options: Line rules.
        labelled: Whether the first line of a cue begins with ``Speaker: ``, which needs room. A
            name that is longer than half a line makes that line too long.
    """
    runs = list(_runs(pieces(segment)))
    limits = [*(run[0].start for run in runs[1:]), segment.end]
    for run, limit in zip(runs, limits, strict=False):
        yield from _cues_of_run(run, limit, options, labelled=labelled)


def _runs(parts: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that may share a cue: of one speaker, no long pause between."""
    run = list(parts[:1])
    for before, after in pairwise(parts):
        if before.speaker != after.speaker or after.start - before.end >= _LONG_PAUSE:
            yield run
            run = []
        run.append(after)
    if run:
        yield run


def _cues_of_run(
    run: Sequence[Piece], limit: float, options: SubtitleOptions, *, labelled: bool
) -> Iterator[Cue]:
    """The cues of a run; the last one may stay until ``limit``."""
    width, speaker = options.max_line_width, run[0].speaker
    label = columns(f"{speaker}: ") if labelled and speaker else 0
    rooms = [width - min(label, width // 2)] + [width] * (options.max_line_count - 1)
    items = [part for piece in run for part in cut(piece, rooms[0])]
    used = _ruler(items)
    reach = [_filled(used, len(items), begin, rooms) for begin in range(len(items))]
    starts = [*(item.start for item in items), limit]

    def wanted(begin: int, end: int) -> float:
        reading = used(begin, end) / options.max_chars_per_second
        return min(max(reading, options.min_cue_duration), options.max_cue_duration)

    def price(begin: int, end: int) -> float:
        lasts = items[end - 1].end - items[begin].start
        alone = end - begin == 1
        if end > reach[begin] or (lasts > options.max_cue_duration and not alone):
            return math.inf
        missing = max(wanted(begin, end) - (starts[end] - starts[begin]), 0.0)
        orphan = _ORPHAN if alone and len(items) > 1 else 0.0
        return 1 + _price_of_break(items, end) + _SECOND_MISSING * missing + orphan

    for begin, end in _cheapest(len(items), price):
        first, last = items[begin], items[end - 1]
        shown_to = max(last.end, first.start + wanted(begin, end))
        stop = min(shown_to, starts[end], first.start + options.max_cue_duration)
        yield Cue(first.start, stop, _lines(items[begin:end], rooms), speaker)


def _lines(items: Sequence[Piece], rooms: Sequence[int]) -> tuple[tuple[Piece, ...], ...]:
    """The pieces of a cue on as few lines as they need, broken where it reads best."""
    used = _ruler(items)

    def price(begin: int, end: int) -> float:
        room = rooms[0] if begin == 0 else rooms[-1]
        if used(begin, end) > room:
            return math.inf
        # Squares are least when the lines are equally long, a speaker's name included.
        balance = ((used(begin, end) + rooms[-1] - room) / rooms[-1]) ** 2
        orphan = _ORPHAN if end - begin == 1 and len(items) > 1 else 0.0
        return _LINE + balance + _price_of_break(items, end) / 4 + orphan

    return tuple(tuple(items[begin:end]) for begin, end in _cheapest(len(items), price))


def _ruler(items: Sequence[Piece]) -> Callable[[int, int], int]:
    """A function that tells how many columns the items from one to before another take."""
    upto = list(accumulate((columns(it.text) + it.spaced for it in items), initial=0))
    return lambda begin, end: upto[end] - upto[begin] - items[begin].spaced


def _filled(used: Callable[[int, int], int], count: int, begin: int, rooms: Sequence[int]) -> int:
    """How far the items from ``begin`` on reach if these lines are filled one after the other."""
    end = begin
    for room in rooms:
        begin = end
        while end < count and used(begin, end + 1) <= room:
            end += 1
    return end


def _price_of_break(items: Sequence[Piece], end: int) -> float:
    """How much it disturbs to cut before ``items[end]``; nothing at the very end."""
    if end == len(items):
        return 0.0
    before = items[end - 1]
    if ends_sentence(before.text):
        return 0.0
    pause = items[end].start - before.end >= _PAUSE
    return _AFTER_CLAUSE if pause or ends_clause(before.text) else _AMID_CLAUSE


def _cheapest(count: int, price: Callable[[int, int], float]) -> list[tuple[int, int]]:
    """Cut ``range(count)`` into consecutive groups that together cost least.

    Args:
        count: Number of items.
        price: Of the group from a begin to before an end. Finite for every single item; infinite
            for a group that is too long, and then for every longer one.
    """
    total = [0.0] + [math.inf] * count
    origin = [0] * (count + 1)
    for begin in range(count):
        for end in range(begin + 1, count + 1):
            cost = total[begin] + price(begin, end)
            if cost == math.inf:
                break
            if cost < total[end]:
                total[end], origin[end] = cost, begin
    groups = []
    end = count
    while end > 0:
        groups.append((origin[end], end))
        end = origin[end]
    return groups[::-1]

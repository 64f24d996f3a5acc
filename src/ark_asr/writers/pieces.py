"""The least that a line of text can be broken into, each with its time.

A piece is a word, or one character of a script that writes no spaces, together with the punctuation
that must not be parted from it (UAX #14, simplified).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, groupby, pairwise

from ark_asr.types import Segment

# White space at which a line may be broken: not the two no-break spaces.
_SPACES = re.compile(r"[^\S\u00a0\u202f]+")
# Kana and Han. Hangul writes spaces, so it is not here.
_SPACELESS = re.compile(
    r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SENTENCE_ENDS = tuple(".?!…。？！｡؟۔।")  # noqa: RUF001 - of several scripts
_CLAUSE_ENDS = tuple(",;:—–、，；：､،؛")  # noqa: RUF001
_CLOSERS = "\"'”’»›)]」』）】"  # noqa: RUF001
_MARKS = {"Mn", "Mc", "Me"}
_INVISIBLE = {"Mn", "Me", "Cf"}
_JOINER = "\u200d"  # makes one emoji of several
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")
_AFTER_EMOJI = re.compile(f"[{_JOINER}\U0001f3fb-\U0001f3ff]")  # or a colour of skin


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment's text that stays on one line.

    Attributes:
        start: Seconds of the recording.
        end: Seconds of the recording.
        text: No space in it at which it could be broken.
        spaced: Whether a space stands before it, unless it begins a line; true for the first one,
            as segments are joined by spaces.
        speaker: Who said it, where speakers were told apart.
        confidence: Probability that it is right; ``None`` where only the segment's is known.
        timed: Whether its times were measured. Otherwise the segment's time was shared out by
            width, which is good to about a second on ordinary speech.
    """

    start: float
    end: float
    text: str
    spaced: bool
    speaker: str | None = None
    confidence: float | None = None
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says without another between; seconds of the recording."""

    start: float
    end: float
    text: str
    speaker: str | None

    @property
    def labelled(self) -> str:
        """The text behind the speaker's name, where there is one."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


def pieces(segment: Segment) -> tuple[Piece, ...]:
    """The pieces of a segment's text, in order.

    They are its words where these spell the text. Where there are none, or someone changed the text
    and not the words, times are estimated.
    """
    return _of_words(segment) or _of_text(segment)


def join(parts: Iterable[Piece]) -> str:
    """Their text on one line."""
    return "".join(" " * piece.spaced + piece.text for piece in parts).removeprefix(" ")


def turns(segment: Segment) -> list[Turn]:
    """The segment cut where the speaker changes; together they fill its time."""
    groups = [
        (speaker, tuple(run)) for speaker, run in groupby(pieces(segment), lambda it: it.speaker)
    ]
    bounds = [segment.start, *(run[0].start for _, run in groups[1:]), segment.end]
    return [
        Turn(start, end, join(run), speaker)
        for (start, end), (speaker, run) in zip(pairwise(bounds), groups, strict=False)
    ]


def columns(text: str) -> int:
    """Width of a text where all characters stand in a grid."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def ends_sentence(text: str) -> bool:
    """Whether a sentence may end behind this text."""
    return text.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS)


def ends_clause(text: str) -> bool:
    """Whether a part of a sentence may end behind this text."""
    return text.rstrip(_CLOSERS).endswith(_CLAUSE_ENDS)


def cut(piece: Piece, room: int) -> list[Piece]:
    """The piece in parts of at most ``room`` columns; they share its time by width."""
    if columns(piece.text) <= room:
        return [piece]
    parts = [""]
    for character in _seen(piece.text):
        for unit in [character] if columns(character) <= room else character:
            if columns(parts[-1] + unit) > room:
                parts.append("")
            parts[-1] += unit
    times = _share(piece.start, piece.end, parts)
    return [
        replace(piece, start=start, end=end, text=part, spaced=piece.spaced and not index)
        for index, (part, (start, end)) in enumerate(zip(parts, times, strict=True))
    ]


def _of_words(segment: Segment) -> tuple[Piece, ...]:
    """The words as pieces; none if they do not spell the text."""
    text, at = segment.text, 0
    found: list[Piece] = []
    for word in segment.words:
        begin = text.find(word.text, at)
        if begin < 0 or text[at:begin].strip() or _SPACES.search(word.text):
            return ()
        speaker, spaced = word.speaker or segment.speaker, begin > at or not found
        found.append(
            Piece(word.start, word.end, word.text, spaced, speaker, word.confidence, timed=True)
        )
        at = begin + len(word.text)
    return () if text[at:].strip() else tuple(found)


def _of_text(segment: Segment) -> tuple[Piece, ...]:
    """Pieces of a text without words, which share the segment's time by width."""
    tokens = filter(None, _SPACES.split(segment.text))
    parts = [(part, not index) for token in tokens for index, part in enumerate(_parts(token))]
    times = _share(segment.start, segment.end, [part for part, _ in parts])
    return tuple(
        Piece(start, end, part, spaced, segment.speaker)
        for (part, spaced), (start, end) in zip(parts, times, strict=True)
    )


def _share(start: float, end: float, parts: Sequence[str]) -> Iterator[tuple[float, float]]:
    sizes = [max(columns(part), 1) for part in parts]
    shares = [size / max(sum(sizes), 1) for size in accumulate(sizes, initial=0)]
    # The last bound is the end itself: arithmetic could miss it by a hair.
    bounds = [start + (end - start) * share for share in shares[:-1]] + [end]
    return pairwise(bounds)


def _parts(token: str) -> Iterator[str]:
    """A token without spaces, cut wherever its script allows a line to end."""
    begin = 0
    for at in range(1, len(token)):
        if _may_break(token[at - 1], token[at]):
            yield token[begin:at]
            begin = at
    yield token[begin:]


def _seen(text: str) -> list[str]:
    """Characters as a reader sees them, with what stands on them (UAX #29, simplified)."""
    found: list[str] = []
    for character in text:
        if found and _continues(found[-1], character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _continues(before: str, character: str) -> bool:
    if unicodedata.category(character) in _MARKS or before[-1] == _JOINER:
        return True
    flag = len(before) == 1 and _FLAG_LETTER.match(before) and _FLAG_LETTER.match(character)
    return bool(flag) or bool(_AFTER_EMOJI.match(character))


def _may_break(before: str, after: str) -> bool:
    kind = unicodedata.category(after)
    # Marks belong to what they stand on; "Lm" are the sound and repetition marks of Japanese.
    if unicodedata.category(before) in {"Ps", "Pi"} or kind == "Lm" or kind in _MARKS:
        return False
    if _SPACELESS.match(after):
        return True
    return bool(_SPACELESS.match(before)) and (after.isalnum() or kind in {"Ps", "Pi"})


@cache
def _columns_of(character: str) -> int:
    if unicodedata.category(character) in _INVISIBLE:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

"""A transcript as someone reads it who was not there: sections, paragraphs, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import PurePath
from typing import TypeAlias

from ark_asr.types import Transcript
from ark_asr.writers.options import DocumentOptions
from ark_asr.writers.pieces import Piece, ends_sentence, pieces
from ark_asr.writers.timestamps import milliseconds

# Seconds of silence that are as good an end of a long paragraph as a full stop.
_PAUSE = 0.4


@dataclass(frozen=True, slots=True)
class Note:
    """What was unusual about a stretch of the recording."""

    number: int
    text: str


# A word, and the notes that stand behind it.
NotedPiece: TypeAlias = tuple[Piece, tuple[Note, ...]]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What one speaker says without a long pause.

    Attributes:
        heading: Whether a section begins here.
        words: At least one.
    """

    heading: bool
    words: tuple[NotedPiece, ...]

    @property
    def start(self) -> float:
        """Seconds of the recording."""
        return self.words[0][0].start

    @property
    def speaker(self) -> str | None:
        """Who says it, where speakers were told apart."""
        return self.words[0][0].speaker


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole text.

    Attributes:
        notes: Of the recording, and of what is before the first word.
        paragraphs: In order.
    """

    notes: tuple[Note, ...]
    paragraphs: tuple[Paragraph, ...]

    @property
    def all_notes(self) -> list[Note]:
        """Those of the words too, in order of their numbers."""
        words = (word for paragraph in self.paragraphs for word in paragraph.words)
        return [*self.notes, *(note for _, notes in words for note in notes)]


def title(transcript: Transcript) -> str:
    """The name of the recording without folder and ending."""
    return PurePath(transcript.source).stem or "Transcript"


def summary(transcript: Transcript, options: DocumentOptions) -> list[str]:
    """Sentences that say where the text is from and how to read it."""
    model = f" by {transcript.model}" if transcript.model else ""
    lines = [f"{clock(transcript.duration)} of sound, transcribed{model}."]
    words = (piece for segment in transcript.segments for piece in pieces(segment))
    if any(options.doubts(piece.confidence) for piece in words):
        lines.append(f"Marked words may be wrong: their confidence is below {options.doubt_below}.")
    return lines


def clock(seconds: float) -> str:
    """``h:mm:ss``, cut to whole seconds as clocks are."""
    minutes, secs = divmod(milliseconds(seconds) // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{secs:02d}"


def outline(transcript: Transcript, options: DocumentOptions) -> Outline:
    """Sections, paragraphs and notes; the note of a segment stands behind its last word."""
    numbers = count(1)
    head = tuple(Note(next(numbers), text) for text in transcript.warnings)
    words: list[NotedPiece] = []
    for segment in transcript.segments:
        words += [(piece, ()) for piece in pieces(segment)]
        if not segment.flags:
            continue
        times = f"{clock(segment.start)} to {clock(segment.end)}"
        note = Note(next(numbers), f"{times}: {', '.join(segment.flags)}")
        if words:
            piece, others = words[-1]
            words[-1] = (piece, (*others, note))
        else:
            head += (note,)
    return Outline(head, tuple(_paragraphs(words, options)))


def _paragraphs(words: Sequence[NotedPiece], options: DocumentOptions) -> Iterator[Paragraph]:
    heading, begin = True, 0
    for at in range(1, len(words)):
        before, after = words[at - 1][0], words[at][0]
        pause = after.start - before.end
        long = after.start - words[begin][0].start >= options.paragraph_duration
        rest = ends_sentence(before.text) or pause >= _PAUSE
        new_section = pause >= options.heading_pause
        if new_section or after.speaker != before.speaker or (long and rest):
            yield Paragraph(heading, tuple(words[begin:at]))
            heading, begin = new_section, at
    if words:
        yield Paragraph(heading, tuple(words[begin:]))

"""A transcript to read and to work on: md, which is CommonMark with footnotes as on GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ark_asr.types import Transcript
from ark_asr.writers.base import Writer
from ark_asr.writers.options import DocumentOptions
from ark_asr.writers.outline import Note, Paragraph, clock, outline, summary, title
from ark_asr.writers.pieces import Piece

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_ITEM = re.compile(r"\A(\d*)([-+.)])(?=\s)")


class MdWriter(Writer):
    """Markdown: a heading after each long pause, speakers, times, ``[?]`` behind doubtful words."""

    suffix = "md"

    def __init__(self, options: DocumentOptions | None = None) -> None:
        self._options = options or DocumentOptions()

    def _render(self, transcript: Transcript) -> str:
        whole = outline(transcript, self._options)
        about = _plain(" ".join(summary(transcript, self._options)))
        blocks = [f"# {_plain(title(transcript))}", about + _marks(whole.notes)]
        for paragraph in whole.paragraphs:
            if paragraph.heading:
                blocks.append(f"## {clock(paragraph.start)}")
            blocks.append(self._paragraph(paragraph))
        blocks += [f"[^{note.number}]: {_no_list(_plain(note.text))}" for note in whole.all_notes]
        return "\n\n".join(blocks) + "\n"

    def _paragraph(self, paragraph: Paragraph) -> str:
        speaker = f"**{_plain(paragraph.speaker)}** " if paragraph.speaker else ""
        words = "".join(
            " " * piece.spaced + self._word(piece) + _marks(notes)
            for piece, notes in paragraph.words
        )
        return f"{speaker}({clock(paragraph.start)}) {words.removeprefix(' ')}"

    def _word(self, piece: Piece) -> str:
        return _plain(piece.text) + "[?]" * self._options.doubts(piece.confidence)


def _marks(notes: Iterable[Note]) -> str:
    return "".join(f"[^{note.number}]" for note in notes)


def _plain(text: str) -> str:
    """The text with every sign quoted that could mean something."""
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))


def _no_list(text: str) -> str:
    """A block that is no item of a list, as one is that begins with ``1. Lecture.mp3``."""
    return _ITEM.sub(r"\1\\\2", text)

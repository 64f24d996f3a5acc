"""A transcript for a word processor: docx (ECMA-376), through ``python-docx`` (extra ``docx``)."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from ark_asr.errors import MissingExtraError
from ark_asr.types import Transcript
from ark_asr.writers.base import Writer
from ark_asr.writers.options import DocumentOptions
from ark_asr.writers.outline import Note, NotedPiece, Paragraph, clock, outline, summary, title
from ark_asr.writers.pieces import join

if TYPE_CHECKING:
    from docx.document import Document
    from docx.text.paragraph import Paragraph as DocxParagraph

# The first moment that a zip file can name: the same transcript gives the same bytes at any time.
_EPOCH = datetime(1980, 1, 1, tzinfo=UTC)
# What XML 1.0 has no way to write.
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DocxWriter(Writer):
    """Word: headings, speakers and times as in ``md``; doubtful words are marked in yellow.

    Raises:
        MissingExtraError: ``python-docx`` is not installed.
    """

    suffix = "docx"

    def __init__(self, options: DocumentOptions | None = None) -> None:
        try:
            import docx
        except ModuleNotFoundError:
            raise MissingExtraError("writing docx", "docx") from None
        self._new = docx.Document
        self._options = options or DocumentOptions()

    def _render(self, transcript: Transcript) -> bytes:
        whole = outline(transcript, self._options)
        document = self._new()
        _describe(document, title(transcript))
        document.add_heading(_xml(title(transcript)), level=0)
        about = document.add_paragraph(_xml(" ".join(summary(transcript, self._options))))
        _mark(about, whole.notes)
        for paragraph in whole.paragraphs:
            if paragraph.heading:
                document.add_heading(clock(paragraph.start), level=1)
            self._add(document.add_paragraph(), paragraph)
        # python-docx writes no footnotes.
        if whole.all_notes:
            document.add_heading("Notes", level=1)
        for note in whole.all_notes:
            line = document.add_paragraph()
            _mark(line, [note])
            line.add_run(f" {_xml(note.text)}")
        return _packed(document)

    def _add(self, line: DocxParagraph, paragraph: Paragraph) -> None:
        from docx.enum.text import WD_COLOR_INDEX
        from docx.oxml import OxmlElement

        right_to_left = _is_right_to_left(paragraph)
        if right_to_left:
            line._p.get_or_add_pPr().append(OxmlElement("w:bidi"))
        if paragraph.speaker:
            line.add_run(f"{_xml(paragraph.speaker)} ").bold = True
        line.add_run(f"({clock(paragraph.start)})").italic = True
        for (doubtful, notes), group in groupby(paragraph.words, self._look):
            parts = [piece for piece, _ in group]
            line.add_run(" " * parts[0].spaced)
            run = line.add_run(_xml(join(parts)))
            if right_to_left:
                run.font.rtl = True
            if doubtful:
                run.font.highlight_color = WD_COLOR_INDEX.YELLOW
            _mark(line, notes)

    def _look(self, word: NotedPiece) -> tuple[bool, tuple[Note, ...]]:
        """Neighbours of the same look are one run."""
        piece, notes = word
        return self._options.doubts(piece.confidence), notes


def _mark(line: DocxParagraph, notes: Sequence[Note]) -> None:
    if notes:
        numbers = ", ".join(str(note.number) for note in notes)
        line.add_run(numbers).font.superscript = True


def _describe(document: Document, name: str) -> None:
    """Set what the template says about its own origin."""
    properties = document.core_properties
    properties.title = _xml(name)[:255]
    properties.author = properties.last_modified_by = "ark-asr"
    properties.comments = ""
    properties.created = properties.modified = _EPOCH


def _packed(document: Document) -> bytes:
    """The file, with no trace of when it was made."""
    packed, stamped = io.BytesIO(), io.BytesIO()
    document.save(stamped)
    with zipfile.ZipFile(stamped) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, _EPOCH.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))
    return packed.getvalue()


def _is_right_to_left(paragraph: Paragraph) -> bool:
    """Whether its first letter is of a script that runs so (UAX #9, rule P2)."""
    letters = (unicodedata.bidirectional(it) for piece, _ in paragraph.words for it in piece.text)
    return next((kind for kind in letters if kind in {"L", "R", "AL"}), "L") != "L"


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)

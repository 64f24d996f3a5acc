"""Output formats: one small class each, and reading json and jsonl back."""

from __future__ import annotations

from ark_asr.errors import OptionError
from ark_asr.writers.base import Writer
from ark_asr.writers.files import write_atomic
from ark_asr.writers.lyrics import LrcWriter
from ark_asr.writers.markdown import MdWriter
from ark_asr.writers.office import DocxWriter
from ark_asr.writers.options import DocumentOptions, SubtitleOptions
from ark_asr.writers.plain import CsvWriter, TsvWriter, TxtWriter
from ark_asr.writers.reading import parse_transcripts, read_transcripts
from ark_asr.writers.records import JsonlWriter, JsonWriter
from ark_asr.writers.subtitles import SrtWriter, VttWriter

__all__ = [
    "FORMATS",
    "DocumentOptions",
    "SubtitleOptions",
    "Writer",
    "get_writer",
    "parse_transcripts",
    "read_transcripts",
    "write_atomic",
]

_PLAIN = {it.suffix: it for it in (TxtWriter, JsonWriter, TsvWriter, JsonlWriter, CsvWriter)}
_SUBTITLES = {it.suffix: it for it in (SrtWriter, VttWriter, LrcWriter)}
_DOCUMENTS = {it.suffix: it for it in (MdWriter, DocxWriter)}
FORMATS = ("txt", "srt", "vtt", "json", "tsv", "jsonl", "csv", "lrc", "md", "docx")


def get_writer(
    name: str,
    subtitles: SubtitleOptions | None = None,
    document: DocumentOptions | None = None,
) -> Writer:
    """The writer of a format.

    Args:
        name: One of ``FORMATS``.
        subtitles: Line rules of srt, vtt and lrc.
        document: Layout of md and docx.

    Raises:
        OptionError: There is no such format.
        MissingExtraError: The format needs a package that is not installed.
    """
    if name in _PLAIN:
        return _PLAIN[name]()
    if name in _SUBTITLES:
        return _SUBTITLES[name](subtitles)
    if name in _DOCUMENTS:
        return _DOCUMENTS[name](document)
    raise OptionError(f"format {name!r} is not known; take one of {', '.join(FORMATS)}")

"""Output formats: one small class each."""

from __future__ import annotations

from ark_asr.errors import OptionError
from ark_asr.writers.base import Writer
from ark_asr.writers.files import write_atomic
from ark_asr.writers.plain import TsvWriter, TxtWriter
from ark_asr.writers.records import JsonlWriter, JsonWriter
from ark_asr.writers.subtitles import SrtWriter, VttWriter

__all__ = ["FORMATS", "Writer", "get_writer", "write_atomic"]

_WRITERS: dict[str, Writer] = {
    writer.suffix: writer
    for writer in (
        TxtWriter(), SrtWriter(), VttWriter(), JsonWriter(), TsvWriter(), JsonlWriter()
    )
}  # fmt: skip
FORMATS = tuple(_WRITERS)


def get_writer(name: str) -> Writer:
    """The writer of a format.

    Raises:
        OptionError: There is no such format.
    """
    if name not in _WRITERS:
        raise OptionError(f"format {name!r} is not known; take one of {', '.join(FORMATS)}")
    return _WRITERS[name]

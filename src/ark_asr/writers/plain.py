"""Text and tables: txt and tsv."""

from __future__ import annotations

from ark_asr.types import Segment, Transcript
from ark_asr.writers.timestamps import milliseconds


class TxtWriter:
    """The words alone, one segment a line."""

    suffix = "txt"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        return "".join(self.line(segment) for segment in transcript.segments)

    def line(self, segment: Segment) -> str:
        """The line of one segment with its newline; nothing if it has no text."""
        return f"{segment.text}\n" if segment.text else ""


class TsvWriter:
    """A table with a head line: start and end in whole milliseconds, text."""

    suffix = "tsv"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        rows = [
            f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{segment.text}\n"
            for segment in transcript.segments
            if segment.text
        ]
        return "start\tend\ttext\n" + "".join(row.replace("\r", " ") for row in rows)

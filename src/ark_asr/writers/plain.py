"""Text and tables: txt, tsv and csv."""

from __future__ import annotations

import csv
import io

from ark_asr.types import Segment, Transcript
from ark_asr.writers.base import Writer
from ark_asr.writers.pieces import Turn, turns
from ark_asr.writers.timestamps import milliseconds


class TxtWriter(Writer):
    """The words alone, one segment a line; where speakers are known, one line for each turn."""

    suffix = "txt"

    def _render(self, transcript: Transcript) -> str:
        return "".join(map(self.lines, transcript.segments))

    def lines(self, segment: Segment) -> str:
        """The lines of one segment with their newlines; nothing if it has no text."""
        return "".join(f"{turn.labelled}\n" for turn in turns(segment))


class TsvWriter(Writer):
    """A table with a head line: start and end in whole milliseconds, text.

    These three columns are what readers of Whisper's tsv expect; ``csv`` has more.
    """

    suffix = "tsv"

    def _render(self, transcript: Transcript) -> str:
        rows = [
            f"{milliseconds(turn.start)}\t{milliseconds(turn.end)}\t{turn.labelled}\n"
            for segment in transcript.segments
            for turn in turns(segment)
        ]
        return "".join(["start\tend\ttext\n", *rows])


class CsvWriter(Writer):
    """A table with all columns, as in RFC 4180: a row for each turn, times in seconds.

    A segment without text has a row if something unusual happened to it.
    """

    suffix = "csv"

    def _render(self, transcript: Transcript) -> str:
        table = io.StringIO(newline="")
        rows = csv.writer(table)
        rows.writerow(["start", "end", "speaker", "text", "confidence", "flags"])
        for segment in transcript.segments:
            silent = [Turn(segment.start, segment.end, "", segment.speaker)]
            for turn in turns(segment) or silent * bool(segment.flags):
                # None and "" are both an empty field.
                rows.writerow(
                    [
                        f"{turn.start:.3f}",
                        f"{turn.end:.3f}",
                        turn.speaker,
                        turn.text,
                        segment.confidence,
                        " ".join(segment.flags),
                    ]
                )
        return table.getvalue()

"""Lines with their time, as music players show them: lrc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

from ark_asr.types import Transcript
from ark_asr.writers.base import Writer
from ark_asr.writers.cues import Cue, cues
from ark_asr.writers.options import SubtitleOptions
from ark_asr.writers.pieces import Piece
from ark_asr.writers.subtitles import require_words
from ark_asr.writers.timestamps import milliseconds

# Seconds of silence after which an empty line takes the text away.
_CLEAR_AFTER = 1.0


class LrcWriter(Writer):
    """LRC: one line a cue, in hundredths of a second; karaoke as in its "enhanced" form."""

    suffix = "lrc"

    def __init__(self, options: SubtitleOptions | None = None) -> None:
        self._options = replace(options or SubtitleOptions(), max_line_count=1)

    def _render(self, transcript: Transcript) -> str:
        if self._options.karaoke:
            require_words(transcript)
        # The duration is that of the part that was asked for, which need not be the first one.
        length = max([transcript.duration, *(segment.end for segment in transcript.segments)])
        head = [f"[length:{_clock(length)[:-3]}]", "[re:ark-asr]"]
        if transcript.source:
            head.insert(0, f"[ti:{' '.join(PurePath(transcript.source).stem.split())}]")
        found = [
            cue
            for segment in transcript.segments
            for cue in cues(segment, self._options, labelled=True)
        ]
        found.sort(key=lambda cue: cue.start)  # segments of several channels overlap
        return "".join(f"{line}\n" for line in [*head, *self._lines(found)])

    def _lines(self, found: list[Cue]) -> Iterator[str]:
        starts = [*(cue.start for cue in found[1:]), float("inf")]
        for cue, following in zip(found, starts, strict=False):
            label = f"{cue.speaker}: " if cue.speaker else ""
            yield f"[{_clock(cue.start)}]{label}{cue.text(self._show)}"
            if following - cue.end >= _CLEAR_AFTER:
                yield f"[{_clock(cue.end)}]"

    def _show(self, piece: Piece) -> str:
        mark = self._options.karaoke and piece.timed
        return f"<{_clock(piece.start)}>{piece.text}" if mark else piece.text


def _clock(seconds: float) -> str:
    """``mm:ss.xx``; an hour and a half is ``90:00.00``."""
    minutes, hundredths = divmod(milliseconds(seconds) // 10, 6000)
    return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"

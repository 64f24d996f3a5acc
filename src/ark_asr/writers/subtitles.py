"""Subtitles: SubRip (srt) and WebVTT (vtt, https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from ark_asr.types import Transcript
from ark_asr.writers.cues import cues
from ark_asr.writers.timestamps import timestamp


class SrtWriter:
    """SubRip: numbered cues, decimal comma."""

    suffix = "srt"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        blocks = []
        for number, cue in enumerate(cues(transcript.segments), start=1):
            times = f"{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}"
            # SubRip has no way to quote its arrow.
            text = "\n".join(cue.lines).replace("-->", "->")
            blocks.append(f"{number}\n{times}\n{text}\n")
        return "\n".join(blocks)


class VttWriter:
    """WebVTT: ``&``, ``<`` and ``>`` are quoted, as its grammar asks."""

    suffix = "vtt"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        blocks = ["WEBVTT\n"]
        for cue in cues(transcript.segments):
            text = "\n".join(cue.lines)
            for character, quoted in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
                text = text.replace(character, quoted)
            blocks.append(f"{timestamp(cue.start)} --> {timestamp(cue.end)}\n{text}\n")
        return "\n".join(blocks)

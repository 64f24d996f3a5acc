"""Subtitles: SubRip (srt) and WebVTT (vtt, https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ark_asr.errors import OptionError
from ark_asr.types import Segment, Transcript
from ark_asr.writers.base import Writer
from ark_asr.writers.cues import Cue, cues
from ark_asr.writers.options import SubtitleOptions
from ark_asr.writers.pieces import Piece
from ark_asr.writers.timestamps import milliseconds, timestamp

# Longer ones too: of "--->" a plain replacement would leave "-->".
_ARROW = re.compile("-{2,}>")


@dataclass(frozen=True, slots=True)
class Frame:
    """A cue, or the part of its time in which one word is spoken."""

    start: float
    end: float
    cue: Cue
    spoken: Piece | None = None


class SrtWriter(Writer):
    """SubRip: numbered cues, decimal comma; speakers as ``Speaker A: `` before the text."""

    suffix = "srt"

    def __init__(self, options: SubtitleOptions | None = None) -> None:
        self._options = options or SubtitleOptions()

    def _render(self, transcript: Transcript) -> str:
        if self._options.highlight_words:
            require_words(transcript)
        frames = [
            frame
            for segment in transcript.segments
            for frame in _frames(cues(segment, self._options, labelled=True), self._options)
        ]
        frames.sort(key=lambda frame: frame.start)  # segments of several channels overlap
        return "\n".join(
            f"{number}\n{timestamp(frame.start, ',')} --> {timestamp(frame.end, ',')}\n"
            f"{_srt_text(frame)}\n"
            for number, frame in enumerate(frames, start=1)
        )


class VttWriter(Writer):
    """WebVTT: speakers as voices, what was unusual as comments, ``&``, ``<`` and ``>`` quoted."""

    suffix = "vtt"

    def __init__(self, options: SubtitleOptions | None = None) -> None:
        self._options = options or SubtitleOptions()

    def _render(self, transcript: Transcript) -> str:
        if self._options.highlight_words or self._options.karaoke:
            require_words(transcript)
        blocks: list[tuple[float, str]] = []
        for segment in transcript.segments:
            blocks += [(segment.start, note) for note in _notes(segment)]
            for frame in _frames(cues(segment, self._options, labelled=False), self._options):
                times = f"{timestamp(frame.start)} --> {timestamp(frame.end)}"
                voice = f"<v {_quote(frame.cue.speaker)}>" if frame.cue.speaker else ""
                blocks.append((frame.start, f"{times}\n{voice}{self._text(frame)}\n"))
        # WebVTT wants cues in order of their start; segments of several channels overlap.
        blocks.sort(key=lambda block: block[0])
        notes = map(_note, transcript.warnings)
        return "\n".join(["WEBVTT\n", *notes, *(text for _, text in blocks)])

    def _text(self, frame: Frame) -> str:
        if self._options.karaoke:
            return _karaoke(frame.cue)
        return frame.cue.text(lambda piece: _underlined(_quote(piece.text), piece, frame))


def require_words(transcript: Transcript) -> None:
    """Refuse to mark words in a transcript that has none.

    Raises:
        OptionError: That is so.
    """
    spoken = [segment for segment in transcript.segments if segment.text]
    if spoken and not any(segment.words for segment in spoken):
        raise OptionError(
            f"highlight_words and karaoke need word times, and {transcript.source or 'this'} was "
            "transcribed without"
        )


def _frames(found: Iterable[Cue], options: SubtitleOptions) -> Iterator[Frame]:
    """Each cue once, or once for every word and every pause between words."""
    for cue in found:
        # A cue without a length is shown by no player, and WebVTT does not know such a thing.
        least = (milliseconds(cue.start) + 1) / 1000
        if not options.highlight_words or milliseconds(cue.end) <= milliseconds(cue.start):
            yield Frame(cue.start, max(cue.end, least), cue)
            continue
        at = cue.start
        for piece in cue.pieces:
            if not piece.timed:
                continue
            start, end = min(piece.start, cue.end), min(piece.end, cue.end)
            # What lasts no millisecond would be a cue that no player shows.
            if milliseconds(start) > milliseconds(at):
                yield Frame(at, start, cue)
            if milliseconds(end) > milliseconds(start):
                yield Frame(start, end, cue, piece)
            at = end
        if milliseconds(cue.end) > milliseconds(at):
            yield Frame(at, cue.end, cue)


def _srt_text(frame: Frame) -> str:
    label = f"{frame.cue.speaker}: " if frame.cue.speaker else ""
    text = label + frame.cue.text(lambda piece: _underlined(piece.text, piece, frame))
    return _without_arrows(text)


def _underlined(text: str, piece: Piece, frame: Frame) -> str:
    return f"<u>{text}</u>" if piece is frame.spoken else text


def _karaoke(cue: Cue) -> str:
    """The lines with the time of each word inside.

    WebVTT asks for times that grow, after the start of the cue and before its end; a word that
    begins with the cue, or together with the one before it, has no time of its own.
    """
    last = milliseconds(cue.start)

    def show(piece: Piece) -> str:
        nonlocal last
        text = _quote(piece.text)
        if not piece.timed:
            return text
        now, tag = milliseconds(piece.start), ""
        if last < now < milliseconds(cue.end):
            last, tag = now, f"<{timestamp(piece.start)}>"
        return f"{tag}<c>{text}</c>"

    return cue.text(show)


def _notes(segment: Segment) -> list[str]:
    if not segment.flags:
        return []
    times = f"{timestamp(segment.start)} to {timestamp(segment.end)}"
    return [_note(f"{times}: {', '.join(segment.flags)}")]


def _note(text: str) -> str:
    return f"NOTE {_without_arrows(' '.join(text.split()))}\n"


def _without_arrows(text: str) -> str:
    """With ``->`` for each arrow that parts times: SubRip and comments have no way to quote it."""
    return _ARROW.sub("->", text)


def _quote(text: str) -> str:
    for character, quoted in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, quoted)
    return text

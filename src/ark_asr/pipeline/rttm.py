"""Turns of speakers from RTTM files, the common form of a diarisation's result.

A line of ten fields with spaces between, as pyannote and others write it::

    SPEAKER meeting 1 12.340 3.200 <NA> <NA> SPEAKER_00 <NA> <NA>

Source: NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ark_asr.errors import OptionError
from ark_asr.pipeline.speakers import SpeakerTurn

_KIND, _RECORDING, _START, _DURATION, _NAME = 0, 1, 3, 4, 7
# The last field, a time, is left out by many programs.
_COUNTS = (9, 10)
# Other kinds of lines that the format knows; they do not say who speaks when.
_OTHERS = frozenset({
    "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT",
    "IP", "SU", "CB", "A/P", "SPKR-INFO",
})  # fmt: skip
# Seconds: three decades, as in a written transcript.
_LONGEST = 1e9


class Rttm:
    """The turns of one file, which may hold those of many recordings.

    Args:
        path: The file.

    Raises:
        OptionError: It cannot be read or is not such a file; the line that is wrong is named.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._turns: dict[str, list[SpeakerTurn]] = {}
        for recording, turn in _lines(path):
            self._turns.setdefault(recording, []).append(turn)
        if not self._turns:
            raise OptionError(f"{path}: has no line that begins with SPEAKER")

    def turns(self, recording: str | Path, *, alone: bool) -> tuple[SpeakerTurn, ...]:
        """Those of one recording: under its file name without its ending, or without its folder.

        Args:
            recording: Its path.
            alone: It is the only one that is transcribed: if the file knows only one recording as
                well, that is meant, whatever it is called there.

        Raises:
            OptionError: The file does not know it.
        """
        if alone and len(self._turns) == 1:
            return tuple(*self._turns.values())
        path = Path(recording)
        found = self._turns.get(path.stem) or self._turns.get(path.name)
        if found is None:
            known = sorted(self._turns)
            names = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            raise OptionError(f"{self._path}: has no turns of {path.stem}, but of {names}")
        return tuple(found)


def _lines(path: str | Path) -> Iterator[tuple[str, SpeakerTurn]]:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: is no UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or line.lstrip().startswith(";;"):
            continue
        place = f"{path}:{number}"
        kind, count = fields[_KIND], len(fields)
        if kind != "SPEAKER" and kind not in _OTHERS:
            raise OptionError(f"{place}: begins with {kind[:20]!r}; a line of RTTM: SPEAKER ...")
        if count not in _COUNTS:
            raise OptionError(f"{place}: has {count} fields; a line of RTTM has 9 or 10")
        if kind == "SPEAKER":
            start, duration = (
                _seconds(fields[field], what, place)
                for field, what in ((_START, "start"), (_DURATION, "duration"))
            )
            if fields[_NAME] == "<NA>":
                raise OptionError(f"{place}: names no speaker (field 8 is <NA>)")
            yield fields[_RECORDING], SpeakerTurn(start, start + duration, fields[_NAME])


def _seconds(text: str, what: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LONGEST:
        raise OptionError(f"{place}: {what} is {text[:20]!r}; it must be seconds, 0 or more")
    return value

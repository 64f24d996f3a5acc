"""Reading json and jsonl back, strictly: what is not as documented is named in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from ark_asr.errors import TranscriptError
from ark_asr.types import Alternative, Segment, Timings, Transcript, Word
from ark_asr.writers.records import SCHEMA, VERSION


def read_transcripts(path: str | Path) -> tuple[Transcript, ...]:
    """The transcripts of a json or jsonl file; which of them it is, its content says.

    A json file holds one transcript. A jsonl file holds one for each run of lines with the same
    source; it says nothing about models, timings and warnings, and the duration is where the last
    segment ends. Keys that are not known are skipped, as ``docs/json-schema.md`` promises.

    Raises:
        TranscriptError: It cannot be opened, or is not such a file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TranscriptError(f"{path} cannot be read: {error.strerror}") from None
    return parse_transcripts(data, str(path))


def parse_transcripts(data: bytes, name: str) -> tuple[Transcript, ...]:
    """``read_transcripts`` of what is in memory; ``name`` is for messages."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TranscriptError(f"{name} is no UTF-8 text (byte {error.start})") from None
    # Not splitlines(): text within a JSON string may hold the line ends of Unicode.
    lines = [(at, line) for at, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        return (Transcript((), 0.0, ""),)
    if _is_json_lines(lines[0][1]):
        return _of_lines(
            [_Record(_parse(line, f"{name}:{at}"), f"{name}:{at}") for at, line in lines]
        )
    return (_transcript(_Record(_parse(text, name), name)),)


# Seconds: three decades. What is longer cannot be meant, and would not fit a time stamp.
_LONGEST = 1e9


class _Record:
    """A JSON object and its place, which begins every message about it."""

    def __init__(self, data: object, place: str) -> None:
        if not isinstance(data, dict):
            raise TranscriptError(f"{place} is no JSON object")
        self._data: dict[str, object] = data
        self.place = place

    def fail(self, key: str, wanted: str) -> NoReturn:
        value = json.dumps(self._data[key])
        short = value if len(value) <= 40 else f"{value[:40]}..."
        raise TranscriptError(f"{self.place}: {key!r} is {short}; it must be {wanted}")

    def has(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self._data.get(key) is not None

    def get(self, key: str) -> object:
        if key not in self._data:
            raise TranscriptError(f"{self.place}: {key!r} is missing; was it written by ark-asr?")
        return self._data[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not _is_unicode(value):
            self.fail(key, "text")
        return value

    def name(self, key: str) -> str | None:
        """One line without white space at its ends; null, or not there, is none."""
        if not self.has(key):
            return None
        value = self.text(key)
        if value != value.strip() or len(value.splitlines()) != 1 or "\t" in value:
            self.fail(key, "a name or null")
        return value

    def number(self, key: str, *, most: float = _LONGEST) -> float:
        value = self.get(key)
        # true and false are ints in Python.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            self.fail(key, f"a number from 0 to {most:g}")
        return float(value)

    def probability(self, key: str) -> float | None:
        """A number from 0 to 1; null, or not there, is none."""
        return self.number(key, most=1) if self.has(key) else None

    def count(self, key: str) -> int:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.fail(key, "a whole number from 0 on")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.get(key)
        if not isinstance(values, list) or not all(
            isinstance(it, str) and _is_unicode(it) for it in values
        ):
            self.fail(key, "a list of texts")
        return tuple(values)

    def records(self, key: str) -> list[_Record]:
        values = self.get(key)
        if not isinstance(values, list):
            self.fail(key, "a list")
        return [_Record(it, f"{self.place}: {key}[{at}]") for at, it in enumerate(values)]

    def record(self, key: str) -> _Record:
        return _Record(self.get(key), f"{self.place}: {key!r}")


def _transcript(record: _Record) -> Transcript:
    if record.get("schema") != SCHEMA:
        record.fail("schema", f"{SCHEMA!r}")
    if record.count("version") > VERSION:
        record.fail("version", f"at most {VERSION} for this program; update ark-asr")
    return Transcript(
        segments=tuple(map(_segment, record.records("segments"))),
        duration=record.number("duration"),
        model=record.text("model"),
        source=record.text("source"),
        timings=_timings(record.record("timings")) if record.has("timings") else None,
        warnings=record.texts("warnings"),
    )


def _of_lines(records: Sequence[_Record]) -> tuple[Transcript, ...]:
    found = []
    for source, group in groupby(records, lambda it: it.text("source")):
        segments = tuple(map(_segment, group))
        found.append(Transcript(segments, max(it.end for it in segments), "", source))
    return tuple(found)


def _segment(record: _Record) -> Segment:
    start, end = _span(record, 0.0, _LONGEST)
    words = record.records("words") if record.has("words") else []
    found: list[Word] = []
    for word in words:
        found.append(_word(word, found[-1].end if found else start, end))
    return Segment(
        start,
        end,
        text=record.text("text"),
        raw_text=record.text("raw_text"),
        confidence=record.probability("confidence"),
        tokens=record.count("tokens"),
        flags=record.texts("flags"),
        words=tuple(found),
        speaker=record.name("speaker"),
        alternatives=tuple(
            Alternative(other.text("text"), other.probability("confidence"))
            for other in (record.records("alternatives") if record.has("alternatives") else ())
        ),
    )


def _word(record: _Record, least: float, most: float) -> Word:
    start, end = _span(record, least, most)
    text = record.name("text")
    if text is None:
        record.fail("text", "a word")
    confidence = record.number("confidence", most=1)
    return Word(start, end, text, confidence, record.name("speaker"))


def _span(record: _Record, least: float, most: float) -> tuple[float, float]:
    start, end = record.number("start"), record.number("end")
    if not least <= start <= end <= most:
        raise TranscriptError(
            f"{record.place}: {start:g} to {end:g} s is not a time inside its segment, after what "
            "is before it"
        )
    return start, end


def _timings(record: _Record) -> Timings:
    return Timings(
        audio=record.number("audio"),
        total=record.number("total"),
        first_text=record.number("first_text") if record.has("first_text") else None,
        decode=record.number("decode"),
        features=record.number("features"),
        encoder=record.number("encoder"),
        decoder=record.number("decoder"),
        words=record.number("words") if record.has("words") else 0.0,
    )


def _parse(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TranscriptError(f"{place} is no JSON ({where}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise TranscriptError(f"{place} is no JSON of ark-asr") from None


def _is_json_lines(line: str) -> bool:
    """Whether a file that begins with this line has one object a line, and not one in all."""
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "schema" not in first


def _is_unicode(text: str) -> bool:
    """Whether it can be written: JSON can spell halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)

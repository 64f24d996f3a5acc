"""The record of a batch: one recording in, one row out.

Keys and their order are those of the published script: audio, text, pred_text, pred_text_raw,
begin_time, end_time, then every other key of the input, unchanged. One difference, on purpose:
where the input itself has a key of ours (it is the output of another run), ours wins. The script
let the old ``pred_text`` overwrite the new one.

Data helpers, batch, evaluation and training read the same record; ``docs/data.md`` describes it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ark_asr.errors import OptionError
from ark_asr.types import Segment

# What a row may say of itself. The number counts up when a key is removed or changes its meaning.
SCHEMA_KEY = "schema"
SCHEMA = "ark-asr/record/1"

OURS = frozenset(
    {"audio", "text", "pred_text", "pred_text_raw", "begin_time", "end_time", "segments", "error"}
)


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the input's keys."""

    audio: str = "audio"
    text: str = "text"
    begin: str = "begin_time"
    end: str = "end_time"


@dataclass(frozen=True, slots=True)
class Record:
    """One recording, or a part of one.

    Attributes:
        number: Line of the manifest (row of a table), from 1.
        audio: As the manifest has it.
        path: Where it is.
        text: Its reference, or empty.
        begin: Second at which the part begins; negative for the start.
        end: Second at which it ends; negative for the end.
        extra: All other keys and values, in order.
    """

    number: int
    audio: str
    path: str
    text: str
    begin: float
    end: float
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def identity(self) -> tuple[str, str, float, float]:
        """What makes it the same record in input and output."""
        return (self.audio, self.text, self.begin, self.end)

    def field(self, key: str) -> Any:  # noqa: ANN401 - whatever the manifest holds
        """The value of another key; ``None`` where it has none."""
        return next((value for name, value in self.extra if name == key), None)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What became of a record.

    Attributes:
        seconds: Of sound that was heard.
        error: Why there is no text; ``None`` if all went well.
    """

    text: str = ""
    raw_text: str = ""
    segments: tuple[Segment, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    warnings: tuple[str, ...] = ()


def parse_record(data: Mapping[str, Any], number: int, fields: Fields) -> Record:
    """Read one object of a manifest.

    Raises:
        OptionError: What is wrong with it, without the number of its line.
    """
    schema = data.get(SCHEMA_KEY)
    if _is_newer(schema):
        raise OptionError(f"{SCHEMA_KEY!r} is {schema!r}, but this release reads {SCHEMA!r}")
    audio = data.get(fields.audio)
    if not isinstance(audio, str) or not audio.strip():
        raise OptionError(f"{fields.audio!r} must be a path, {_found(data, fields.audio)}")
    text = data.get(fields.text)
    if text is not None and not isinstance(text, str):
        raise OptionError(f"{fields.text!r} must be text, {_found(data, fields.text)}")
    begin, end = time_of(data, fields.begin), time_of(data, fields.end)
    if 0 <= end <= max(begin, 0.0):
        raise OptionError(
            f"{fields.end!r} ({end:g} s) must come after {fields.begin!r} ({max(begin, 0.0):g} s)"
        )
    named = {fields.audio, fields.text, fields.begin, fields.end}
    extra = tuple((k, v) for k, v in data.items() if k not in named and k not in OURS)
    check_values([audio, text, extra])
    return Record(number, audio, audio, text or "", begin, end, extra)


def render_row(record: Record, prediction: Prediction, *, segments: bool = False) -> str:
    """One line of output, without its newline."""
    row: dict[str, Any] = {
        "audio": record.audio,
        "text": record.text,
        "pred_text": prediction.text,
        "pred_text_raw": prediction.raw_text,
        "begin_time": record.begin,
        "end_time": record.end,
        **dict(record.extra),
    }
    if segments:
        row["segments"] = [_segment(segment) for segment in prediction.segments]
    if prediction.error is not None:
        row["error"] = prediction.error
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def parse_json(line: bytes) -> Any:  # noqa: ANN401 - whatever the line holds
    """One JSON value.

    Raises:
        OptionError: It is not one, in words for the person who wrote it.
    """
    try:
        # Of bytes json itself guesses the encoding: UTF-16's first line would do, its others not.
        return json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise OptionError(f"is not UTF-8 (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise OptionError(f"is not JSON (column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"is not JSON ({error})") from None


def check_values(values: object) -> None:
    """Refuse now what cannot be written down later: infinities, half characters.

    Raises:
        OptionError: There is one.
    """
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise OptionError(f"holds a value that JSON cannot: {error}") from None


def _is_newer(schema: object) -> bool:
    """Whether it is another version of ours; a foreign key of that name is nobody's business."""
    family = SCHEMA.rpartition("/")[0] + "/"
    return isinstance(schema, str) and schema.startswith(family) and schema != SCHEMA


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _found(data: Mapping[str, Any], key: str) -> str:
    return f"not {data[key]!r:.60}" if key in data else "but it is missing"


def time_of(data: Mapping[str, Any], key: str) -> float:
    """Seconds; -1 where there are none.

    Raises:
        OptionError: It is no number.
    """
    value = data.get(key)
    if value is None or value == "":
        return -1.0
    with contextlib.suppress(ValueError):
        seconds = as_number(float(value) if isinstance(value, str) else value)
        if seconds is not None:
            return seconds
    raise OptionError(f"{key!r} must be a number of seconds, {_found(data, key)}")


def as_number(value: object) -> float | None:
    """What a manifest's value is as a number; None for anything that is no finite one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # whole numbers have no end
        return None


def _segment(segment: Segment) -> dict[str, Any]:
    row: dict[str, Any] = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "raw_text": segment.raw_text,
        "confidence": None if segment.confidence is None else round(segment.confidence, 4),
        "tokens": segment.tokens,
        "flags": list(segment.flags),
    }
    if segment.words:
        row["words"] = [
            {
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "text": word.text,
                "confidence": round(word.confidence, 4),
            }
            for word in segment.words
        ]
    return row

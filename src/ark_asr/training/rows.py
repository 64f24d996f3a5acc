"""Rows of a manifest to train on, and the sound behind them."""

from __future__ import annotations

import codecs
import contextlib
import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from ark_asr.audio import load_audio
from ark_asr.batch.places import is_remote
from ark_asr.batch.records import Fields, parse_json, parse_record, time_of
from ark_asr.errors import OptionError
from ark_asr.training.places import beside, read_bytes
from ark_asr.types import FloatArray

_TABLES = {".csv", ".tsv", ".parquet", ".xlsx"}
_ROUNDED = 0.1  # seconds by which a duration may differ from the times that it is of


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest.

    Attributes:
        audio: Path or address of a recording, or of a shard.
        begin: Seconds.
        end: Seconds, if it is known.
        span: First byte and number of bytes of the recording in a shard.
    """

    audio: str
    text: str
    begin: float
    end: float | None
    seconds: float
    augment: bool = False
    span: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """The recording, and which part of it or of the shard this is, for messages."""
        part = f"{self.begin:.2f} s" if self.span is None else f"byte {self.span[0]}"
        return f"{self.audio} ({part})"


def read_manifest(path: str | Path, *, augment: bool = False) -> list[Row]:
    """Rows of a JSON-lines manifest; ``audio`` is relative to it.

    Raises:
        OptionError: Names the line that is not what it must be.
    """
    place = str(path)
    if PurePath(place).suffix.lower() in _TABLES:
        raise OptionError(f"{place}: training reads JSON lines, an object for each clip, no tables")
    try:
        # Not splitlines(): JSON may hold line ends of Unicode as they are.
        lines = read_bytes(place).removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise OptionError(f"{place}: cannot be read ({error.strerror or error})") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(parse_json(line), place, augment=augment))
        except OptionError as error:
            raise OptionError(f"{place}:{number}: not a usable row: {error}") from None
    return rows


def _row(data: object, manifest: str, *, augment: bool) -> Row:
    if not isinstance(data, Mapping):
        raise OptionError(f"must be a JSON object, not {data!r:.60}")
    record = parse_record(data, 0, Fields())
    begin, end, stated = max(record.begin, 0.0), record.end, time_of(data, "duration")
    if begin > 0 and end < 0 < stated:
        end = begin + stated
    seconds = stated
    if end >= 0 and abs(end - begin - stated) > _ROUNDED:  # it may be that of the whole recording
        seconds = end - begin
    if seconds <= 0:
        raise OptionError("duration, or begin_time and end_time, must be there and make sense")
    text = data.get("text_norm") or data.get("text")
    if not isinstance(text, str):
        raise OptionError("'text' must be what is said, or \"\" where nobody speaks")
    span = None
    if "offset" in data:
        span = data["offset"], data.get("bytes", -1)
        if not all(type(number) is int and number >= 0 for number in span):
            raise OptionError("'offset' and 'bytes' must be whole numbers: where it is in a shard")
    return Row(
        beside(manifest, record.audio), text, begin, end if end > begin else None, seconds, augment,
        span,
    )  # fmt: skip


def read_samples(row: Row, sample_rate: int) -> FloatArray:
    """The sound of a row, float32 ``[n]``.

    A piece of a 16-bit WAV file of the right rate is read in place; anything else is decoded.

    Raises:
        AudioError: It cannot be decoded, or ends before the piece begins.
        OSError: It cannot be reached.
    """
    far = row.span is not None or is_remote(row.audio)
    source = read_bytes(row.audio, row.span) if far else row.audio
    if row.end is not None and row.audio.endswith(".wav"):
        found = _in_place(source, row.begin, row.end, sample_rate)
        if found is not None:
            return found
    begin = row.begin or None
    return load_audio(source, sample_rate=sample_rate, begin=begin, end=row.end).samples


def _in_place(source: str | bytes, begin: float, end: float, rate: int) -> FloatArray | None:
    """A piece of a 16-bit WAV file; ``None`` if it is something else, or has nothing there."""
    # Of floats, of 24 bits, no WAV at all in spite of its name: all that can be decoded.
    with (
        contextlib.suppress(wave.Error, EOFError),
        wave.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file,
    ):
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2):
            first = round(begin * rate)
            file.setpos(first)
            data = file.readframes(round(end * rate) - first)
            if whole := len(data) // 2 * 2:  # a file that was cut may end within a sample
                return np.frombuffer(data[:whole], dtype="<i2").astype(np.float32) / 32768.0
    return None

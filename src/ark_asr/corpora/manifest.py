"""Records, made and written: the other side of `ark_asr.batch.manifests`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ark_asr.batch.places import is_remote
from ark_asr.batch.records import SCHEMA, SCHEMA_KEY, Record
from ark_asr.errors import OptionError
from ark_asr.writers import write_atomic


def make_record(
    path: Path,
    text: str,
    *,
    begin: float = -1.0,
    end: float = -1.0,
    **extra: str | float | bool | None,
) -> Record:
    """A record of a recording on this machine; keys without a value are left out.

    White space of the text, line ends too, becomes single spaces.
    """
    kept = tuple((key, value) for key, value in extra.items() if value is not None)
    return Record(0, str(path), str(path), " ".join(text.split()), begin, end, kept)


def with_field(record: Record, key: str, value: object) -> Record:
    """The record with one key more, or with another value under it."""
    if any(name == key for name, _ in record.extra):
        extra = tuple((name, value if name == key else old) for name, old in record.extra)
    else:
        extra = (*record.extra, (key, value))
    return replace(record, extra=extra)


def speaker_of(record: Record, key: str = "speaker") -> str | None:
    """Who speaks; ``None`` if it does not say."""
    speaker = record.field(key)
    return None if speaker is None or speaker == "" else str(speaker)


def seconds_of(record: Record) -> float | None:
    """How long it says it is; ``None`` if it does not say."""
    if record.end >= 0:
        return record.end - max(record.begin, 0.0)
    try:
        seconds = float(record.field("duration"))
    except (TypeError, ValueError, OverflowError):  # the latter of numbers with hundreds of digits
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def write_manifest(path: Path, records: Iterable[Record]) -> int:
    """Write JSON lines and return how many.

    Recordings beneath the manifest's folder are named relative to it, so that both can be moved
    together; all others by their whole path.

    Raises:
        OptionError: It cannot be written.
    """
    folder = Path(os.path.normpath(path.absolute().parent))  # as recordings are named
    lines = [render_record(record, folder) for record in records]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from None
    return len(lines)


def render_record(record: Record, folder: Path) -> str:
    """One line of a manifest in that folder, without its newline."""
    row: dict[str, Any] = {"audio": _name(record.path, folder), "text": record.text}
    if record.begin >= 0:
        row["begin_time"] = record.begin
    if record.end >= 0:
        row["end_time"] = record.end
    row |= dict(record.extra)
    row[SCHEMA_KEY] = SCHEMA
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _name(path: str, folder: Path) -> str:
    if is_remote(path):
        return path
    whole = Path(os.path.normpath(Path(path).absolute()))
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    return str(whole)

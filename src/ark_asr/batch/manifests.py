"""Where records come from: JSON lines, CSV and TSV, Parquet, or a folder of recordings.

Everything is checked here, before a model is loaded, and every bad line is named at once.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from ark_asr.batch.records import Fields, Record, parse_json, parse_record
from ark_asr.errors import ManifestError, MissingExtraError, OptionError

STDIN = "-"
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".m4a", ".m4b",
    ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus",
    ".spx", ".ts", ".wav", ".weba", ".webm", ".wma", ".wv",
})  # fmt: skip
_MOST_PROBLEMS = 100  # of a file that is something else altogether, nobody reads more
_BOM = b"\xef\xbb\xbf"


def read_manifest(
    source: str, fields: Fields | None = None, *, audio_root: Path | None = None
) -> list[Record]:
    """All records of a manifest.

    Args:
        source: A ``.jsonl`` (or any other text of JSON lines), ``.csv``, ``.tsv`` or ``.parquet``
            file, a folder, whose recordings are then taken in order of their paths, or ``-`` for
            JSON lines on standard input.
        fields: Names of its keys or columns.
        audio_root: Folder that relative paths are in. Without it they are looked for in the current
            folder, as the published script does, and else beside the manifest.

    Raises:
        OptionError: The manifest cannot be read, or has bad lines; each is named with its number.
        MissingExtraError: Parquet needs the extra ``batch``.
    """
    fields = fields or Fields()
    path = Path(source)
    where = "standard input" if source == STDIN else source
    if source != STDIN and path.is_dir():
        return _folder(path)
    folder = Path() if source == STDIN else path.parent
    records, problems = [], []
    try:
        for number, data in _lines(source):
            try:
                value = parse_json(data) if isinstance(data, bytes) else data
                if not isinstance(value, Mapping):
                    raise OptionError(f"must be a JSON object, not {value!r:.60}")  # noqa: TRY301
                record = parse_record(value, number, fields)
                records.append(replace(record, path=_place(record.audio, folder, audio_root)))
            except OptionError as error:
                problems.append(f"  line {number}: {error}")
    except OSError as error:
        raise OptionError(f"{where}: cannot be read ({error.strerror or error})") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise OptionError(f"{where}: cannot be read ({error})") from None
    if problems:
        count = f"{len(problems)} bad line" + "s" * (len(problems) > 1)
        rest = len(problems) - _MOST_PROBLEMS
        shown = problems[:_MOST_PROBLEMS] + [f"  and {rest} more"] * (rest > 0)
        raise ManifestError(f"{where}: {count}; nothing was done", tuple(shown))
    if not records:
        raise OptionError(f"{where}: has no records")
    return records


def missing_recordings(records: Iterable[Record]) -> list[Record]:
    """Records whose recording is not where the manifest says."""
    return [record for record in records if not _exists(record.path)]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name too long, or with a null byte
        return False


def _folder(path: Path) -> list[Record]:
    files = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
    )
    if not files:
        raise OptionError(f"{path}: has no recordings in it")
    return [
        Record(number, str(file), str(file), "", -1.0, -1.0) for number, file in enumerate(files, 1)
    ]


def _lines(source: str) -> Iterator[tuple[int, bytes | Mapping[str, Any]]]:
    """Number and content of each line or row that is not blank."""
    if source == STDIN:
        yield from _json_lines(sys.stdin.buffer)
        return
    suffix = Path(source).suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(source)
    elif suffix in {".csv", ".tsv"}:
        with Path(source).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
            for row in reader:
                number = reader.line_num
                if None in row:
                    raise csv.Error(f"line {number} has more cells than the head has names")
                yield number, row
    else:
        with Path(source).open("rb") as file:
            yield from _json_lines(file)


def _json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        content = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if content:
            yield number, content


def _parquet(source: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingExtraError("a Parquet manifest", "batch") from None
    try:
        with parquet.ParquetFile(source) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {key: _plain(value) for key, value in row.items()}
    except import_module("pyarrow").ArrowException as error:
        raise OptionError(f"{source}: is not a Parquet file ({error})") from None


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _place(audio: str, folder: Path, root: Path | None) -> str:
    """The path of a recording.

    Raises:
        OptionError: Two different files could be meant.
    """
    path = Path(audio)
    if path.is_absolute():
        return audio
    if root is not None:
        return str(root / path)
    beside = folder / path
    try:
        here, there = path.exists(), beside.exists()
        two = here and there and not path.samefile(beside)
    except (OSError, ValueError):  # such as a null byte: opening it will say so
        return audio
    if two:
        raise OptionError(
            f"{audio} is in the current folder and in {folder}; say which with --audio-root"
        )
    return str(beside) if there and not here else audio

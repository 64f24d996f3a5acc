"""Where records come from: JSON lines, CSV and TSV, Parquet, or a folder of recordings.

Each may be on this machine or elsewhere (``s3://``, ``gs://``, ...), and a manifest may come in
several files, named by a pattern.

Everything is checked here, before a model is loaded, and every bad line is named at once.
"""

from __future__ import annotations

import csv
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path, PurePath
from typing import Any, TextIO

from ark_asr.batch.places import (
    beneath,
    exists,
    is_remote,
    join,
    matching,
    open_read,
    parent,
    suffix,
)
from ark_asr.batch.records import Fields, Record, check_values, parse_json, parse_record
from ark_asr.errors import ManifestError, MissingExtraError, OptionError

STDIN = "-"
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".m4a", ".m4b",
    ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus",
    ".spx", ".ts", ".wav", ".weba", ".webm", ".wma", ".wv",
})  # fmt: skip
_MOST_PROBLEMS = 100  # of a file that is something else altogether, nobody reads more
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_LONGEST_CELL = (1 << 31) - 1  # more fits into no C long of Windows
_ONE_LIMIT = threading.Lock()  # on cells, 128 KiB, of the whole process
_BOM = b"\xef\xbb\xbf"


def read_manifest(
    source: str, fields: Fields | None = None, *, audio_root: Path | str | None = None
) -> list[Record]:
    """All records of a manifest.

    Args:
        source: A ``.jsonl`` (or any other text of JSON lines), ``.csv``, ``.tsv`` or ``.parquet``
            file or a pattern that several fit, a folder, whose recordings are then taken in order
            of their paths (elsewhere its address ends in ``/``), or ``-`` for JSON lines on
            standard input. Lines of several files are counted on from one to the next.
        fields: Names of its keys or columns.
        audio_root: Folder that relative paths are in. Without it they are looked for in the current
            folder, as the published script does, and else beside the manifest.

    Raises:
        OptionError: The manifest cannot be read, or has bad lines; each is named with its number.
        MissingExtraError: Parquet needs the extra ``files``.
    """
    fields = fields or Fields()
    if source == STDIN:
        return _read([source], "standard input", fields, audio_root)
    if not is_remote(source) and Path(source).is_dir():
        paths = [str(path) for path in recordings_in(Path(source))]
        return _of_folder(source, paths)
    if is_remote(source) and source.endswith("/"):
        return _of_folder(source, [it for it in beneath(source) if _has_sound(it)])
    files = files_of(source)
    if not files:
        raise OptionError(f"{source}: no file fits this pattern")
    return _read(files, source, fields, audio_root)


def files_of(source: str) -> list[str]:
    """The files that a manifest is read from: one, or all that fit a pattern."""
    return matching(source) if _is_pattern(source) and not exists(source) else [source]


def refuse_as_output(target: str, source: str) -> None:
    """Refuse to write over what is read, which would be read as well when the run goes on.

    Args:
        target: Where the output goes.
        source: As for `read_manifest`.

    Raises:
        OptionError: It is one of the manifest's files.
    """
    for file in [] if STDIN in (target, source) else files_of(source):
        if is_remote(target) or is_remote(file):
            same = target == file
        else:
            both = Path(target), Path(file)
            same = all(path.exists() for path in both) and both[0].samefile(both[1])
        if same:
            raise OptionError(f"{target} is an input; choose another name")


def _read(
    files: Sequence[str], where: str, fields: Fields, audio_root: Path | str | None
) -> list[Record]:
    """Records of one manifest, or of several as if they were one."""
    records: list[Record] = []
    problems: list[str] = []
    before = 0  # lines of the files that came earlier
    for source in files:
        folder = "" if source == STDIN else parent(source)
        name = f"{source}: " if len(files) > 1 else ""
        if _has_sound(source):
            raise OptionError(f"{source}: is a recording and no list of them; give its folder")
        number = 0
        try:
            for number, data in _lines(source):
                try:
                    value = parse_json(data) if isinstance(data, bytes) else data
                    if not isinstance(value, Mapping):
                        raise OptionError(f"must be a JSON object, not {value!r:.60}")  # noqa: TRY301
                    record = parse_record(value, before + number, fields)
                    records.append(replace(record, path=_place(record.audio, folder, audio_root)))
                except OptionError as error:
                    problems.append(f"  {name}line {number}: {error}")
        except OSError as error:
            raise OptionError(f"{source}: cannot be read ({error.strerror or error})") from None
        except (csv.Error, UnicodeDecodeError) as error:
            raise OptionError(f"{source}: cannot be read ({error})") from None
        before += number
    if problems:
        count = f"{len(problems)} bad line" + "s" * (len(problems) > 1)
        rest = len(problems) - _MOST_PROBLEMS
        shown = problems[:_MOST_PROBLEMS] + [f"  and {rest} more"] * (rest > 0)
        raise ManifestError(f"{where}: {count}; nothing was done", tuple(shown))
    if not records:
        raise OptionError(f"{where}: has no records")
    return records


def recordings_in(folder: Path) -> list[Path]:
    """All recordings beneath a folder, by their suffix, in the order of their paths.

    Raises:
        OptionError: There are none.
    """
    files = sorted(file for file in folder.rglob("*") if _has_sound(file.name) and file.is_file())
    if not files:
        raise OptionError(f"{folder}: has no recordings in it")
    return files


def missing_recordings(records: Iterable[Record]) -> list[Record]:
    """Records whose recording is not where the manifest says."""
    return [record for record in records if not _exists(record.path)]


def _exists(path: str) -> bool:
    try:
        # A question to a store for each recording would take longer than many of them.
        return is_remote(path) or Path(path).exists()
    except (OSError, ValueError):  # a name too long, or with a null byte
        return False


def _has_sound(name: str) -> bool:
    return PurePath(name).suffix.lower() in AUDIO_SUFFIXES


def _is_pattern(source: str) -> bool:
    return any(mark in source for mark in "*?[")


def _of_folder(folder: str, paths: Sequence[str]) -> list[Record]:
    if not paths:
        raise OptionError(f"{folder}: has no recordings in it")
    for path in paths:  # names in an old encoding cannot be written down
        try:
            check_values(path)
        except OptionError as error:
            raise OptionError(f"{path}: its name {error}; rename it") from None
    return [Record(number, path, path, "", -1.0, -1.0) for number, path in enumerate(paths, 1)]


def _lines(source: str) -> Iterator[tuple[int, bytes | Mapping[str, Any]]]:
    """Number and content of each line or row that is not blank."""
    if source == STDIN:
        yield from _json_lines(sys.stdin.buffer)
        return
    kind = suffix(source)
    if kind == ".parquet":
        yield from _parquet(source)
    elif kind in {".csv", ".tsv"}:
        with open_read(source) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            yield from _cells(file, "\t" if kind == ".tsv" else ",")
    else:
        with open_read(source) as lines:
            yield from _json_lines(lines)


def _json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        content = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if content:
            yield number, content


def _cells(file: TextIO, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a table with a head.

    Raises:
        csv.Error: It is none, or a cell could not be told from another one.
    """
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    with _any_length():
        names = reader.fieldnames or ()
    # Spreadsheets write columns without a name behind those with one.
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise csv.Error(f"two columns are called {twice!r}")
    while True:
        with _any_length():
            row = next(reader, None)
        if row is None:
            return
        number = reader.line_num
        if None in row:
            raise csv.Error(f"line {number} has more cells than the head has names")
        yield number, _typed(row)


@contextmanager
def _any_length() -> Iterator[None]:
    """One row may have cells of any length; then the limit is what it was, for everybody."""
    with _ONE_LIMIT:
        before = csv.field_size_limit(_LONGEST_CELL)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _parquet(source: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingExtraError("a Parquet manifest", "files") from None
    try:
        with open_read(source) as raw, parquet.ParquetFile(raw) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {key: _plain(value) for key, value in row.items()}
    except import_module("pyarrow").ArrowException as error:
        raise OptionError(f"{source}: is not a Parquet file ({error})") from None


def _typed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Cells are text; a duration is a number, as all other manifests have it."""
    cell = row.get("duration") or ""
    return {**row, "duration": float(cell)} if _NUMBER.fullmatch(cell) else row


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _place(audio: str, folder: str, root: Path | str | None) -> str:
    """The path of a recording.

    Raises:
        OptionError: Two different files could be meant.
    """
    path = Path(audio)
    if path.is_absolute() or is_remote(audio):
        return audio
    if root is not None:
        return join(str(root), audio)
    if is_remote(folder):
        return join(folder, audio)
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

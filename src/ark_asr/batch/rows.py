"""The output: rows that are on the disk, whole, in the order of the input, or not there at all.

Rows are appended and synced. Whatever happens to the process, the file is a beginning of the full
output, perhaps followed by a part of one row; going on cuts that part off and continues.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ark_asr.batch.locks import lock
from ark_asr.batch.records import Record, parse_json
from ark_asr.errors import OptionError

STDOUT = "-"


class RowFile:
    """An open output; one process at a time.

    Args:
        target: A path, whose folders are made, or ``-`` for standard output.
        records: The input; what is already in the output must be its beginning.
        resume: Go on after the rows that are there.
        overwrite: Begin anew, whatever is there.

    Attributes:
        done: Rows that are in the file.
        failed: Those of them that have an error.

    Raises:
        OptionError: It cannot be written, it has rows and neither ``resume`` nor ``overwrite`` was
            asked for, its rows are of another input, or another process writes it.
    """

    def __init__(
        self, target: str, records: Sequence[Record], *, resume: bool, overwrite: bool
    ) -> None:
        self.done = 0
        self.failed = 0
        self._target = target
        self._records = records
        self._replace = False
        if target == STDOUT:
            if resume:
                raise OptionError("standard output cannot be resumed; name a file with --output")
            sys.stdout.flush()
            self._file: IO[bytes] = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
            self._regular = False
            return
        self._file = self._open(Path(target))
        self._regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        try:
            if self._regular:
                lock(self._file.fileno(), self._name)
                self._settle(records, resume=resume, overwrite=overwrite)
        except BaseException:
            self.close()
            raise

    @property
    def todo(self) -> Sequence[Record]:
        """Records whose rows are not in the file."""
        return self._records[self.done :]

    def append(self, rows: Iterable[str]) -> None:
        """Write rows (without newlines) and wait until they are on the disk.

        Raises:
            OptionError: They could not be written; no part of them that is torn stays.
            BrokenPipeError: Nobody reads standard output any more.
        """
        if self._replace:
            self._file.truncate(0)
            self._replace = False
        before = self._file.seek(0, os.SEEK_END) if self._regular else 0
        lines = list(rows)
        data = memoryview("".join(f"{row}\n" for row in lines).encode())
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
            if self._regular:
                os.fsync(self._file.fileno())
        except OSError as error:
            if self._target == STDOUT and isinstance(error, BrokenPipeError):
                raise
            if self._regular:
                with contextlib.suppress(OSError):
                    self._file.truncate(before)
            rest = f"; {self.done} rows are there, --resume goes on after them"
            raise OptionError(
                f"{self._name}: cannot be written ({error.strerror or error})"
                f"{rest if self._regular else ''}"
            ) from None
        self.done += len(lines)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _name(self) -> str:
        return "standard output" if self._target == STDOUT else self._target

    def _open(self, path: Path) -> IO[bytes]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            file = path.open("ab+", buffering=0)
            if new:
                _sync_folder(path.parent)
        except OSError as error:
            raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from None
        return file

    def _settle(self, records: Sequence[Record], *, resume: bool, overwrite: bool) -> None:
        """Bring the file to the end of its last whole row."""
        size = self._file.seek(0, os.SEEK_END)
        if resume:
            self._file.truncate(self._check(records))
        elif overwrite:
            self._replace = True  # by the first row: what is there may be better than no output
        elif size:
            raise OptionError(
                f"{self._name}: has rows already; --resume goes on after them, --overwrite begins "
                "anew"
            )

    def _check(self, records: Sequence[Record]) -> int:
        """Compare rows with records; the size of the whole rows in bytes."""
        size = 0
        for line in self._read():
            number = self.done + 1
            if number > len(records):
                raise OptionError(f"{self._name}: has more rows than the input; is it another's?")
            self.failed += has_error(line, number, records[self.done], self._name)
            size += len(line) + 1
            self.done = number
        return size

    def _read(self) -> Iterator[bytes]:
        """The whole lines; what has no newline at its end was torn."""
        self._file.seek(0)
        rest = b""
        while chunk := self._file.read(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def has_error(line: bytes, number: int, record: Record, name: str) -> bool:
    """Whether the row of a record has an error.

    Args:
        line: The row.
        number: Its line in the file.
        record: What it should be of.
        name: What the user calls the file.

    Raises:
        OptionError: It is no row, or that of another record.
    """
    try:
        row = parse_json(line)
    except OptionError as error:
        raise OptionError(f"{name}: line {number} {error}; it cannot be resumed") from None
    keys = ("audio", "text", "begin_time", "end_time")
    if not isinstance(row, dict) or tuple(row.get(key) for key in keys) != record.identity:
        raise OptionError(
            f"{name}: line {number} is not of line {record.number} of the input "
            f"({record.audio}); it is the output of another run"
        )
    return "error" in row


def _sync_folder(folder: Path) -> None:
    """Without this a new file's name may not survive a power cut."""
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

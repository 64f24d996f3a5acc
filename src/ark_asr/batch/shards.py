"""An output in several files, for places that cannot append and for many writers at once.

The rows of so many records each are one file, written whole. What was done of a shard when a run
ended is done again; what is there is never touched. At the end the shards become one file, unless
the output is a folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Self

from ark_asr.batch.locks import FolderLock
from ark_asr.batch.places import (
    exists,
    is_remote,
    join,
    join_whole,
    names_in,
    open_read,
    prepare_folder,
    remove,
    remove_folder,
    write_whole,
)
from ark_asr.batch.records import Record
from ark_asr.batch.rows import STDOUT, has_error
from ark_asr.errors import OptionError

SHARD_ROWS = 256
_FIRST, _LAST = "part-", ".jsonl"


@dataclass(frozen=True, slots=True)
class Shard:
    """Records that follow each other, and the file of their rows."""

    records: Sequence[Record]
    path: str

    def write(self, lines: Iterable[str]) -> None:
        """Write the rows of all its records.

        Raises:
            OptionError: They cannot be written.
        """
        write_whole(self.path, "".join(f"{line}\n" for line in lines).encode())


def is_sharded(target: str) -> bool:
    """Whether an output can only be written in shards: a folder, or not of this machine."""
    return target.endswith("/") or is_remote(target)


class ShardFolder:
    """The shards of an output; on this machine one process at a time.

    Args:
        target: A folder (its path ends in ``/``), which keeps the shards; or a file, that they
            become at the end, and beside which they lie until then.
        records: The input; the shards that are there must be of it.
        size: Records of each shard.
        resume: Keep the shards that are there.
        overwrite: Begin anew, whatever is there.

    Attributes:
        done: Rows of the shards that are there.
        failed: Those that were there before and have an error.
        missing: Shards that are not there.

    Raises:
        OptionError: It cannot be written, it has rows and neither ``resume`` nor ``overwrite`` was
            asked for, its rows are of another input or of shards of another size, or another
            process writes it (in a folder of this machine).
    """

    def __init__(
        self, target: str, records: Sequence[Record], *, size: int = SHARD_ROWS,
        resume: bool, overwrite: bool,
    ) -> None:  # fmt: skip
        if size < 1:
            raise OptionError(f"shard_rows is {size}; it must be at least 1")
        if target == STDOUT:
            raise OptionError("standard output cannot be written in shards; name a file or folder")
        self._whole = None if target.endswith("/") else target
        self._folder = f"{target}.parts" if self._whole else target.rstrip("/")
        count = -(-len(records) // size)
        self._shards = [
            Shard(
                records[number * size : (number + 1) * size],
                join(self._folder, f"{_FIRST}{number:05}-of-{count:05}{_LAST}"),
            )
            for number in range(count)
        ]
        self._lines: list[str] = []
        self.failed = 0
        self.missing = deque(self._shards)
        self._total = len(records)
        self.done = 0
        self._lock = None if is_remote(self._folder) else FolderLock(self._folder)
        try:
            self._settle(resume=resume, overwrite=overwrite)
            if self.missing:
                prepare_folder(self._folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the output; a folder of parts that has none any more goes."""
        if self._lock is not None:
            self._lock.close()
        if self._whole is not None:
            remove_folder(self._folder)

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
    def todo(self) -> Sequence[Record]:
        """Records of the shards that are not there."""
        return list(chain.from_iterable(shard.records for shard in self.missing))

    def append(self, rows: Iterable[str]) -> None:
        """Take rows, in the order of `todo`; each shard is written when it has all of its rows.

        Raises:
            OptionError: A shard cannot be written; the rows of others stay.
        """
        self._lines += rows
        while self.missing and len(self._lines) >= len(self.missing[0].records):
            shard = self.missing[0]
            count = len(shard.records)
            shard.write(self._lines[:count])
            del self._lines[:count]
            self.take(shard)

    def take(self, shard: Shard) -> None:
        """A shard has been written; the last one ends the output.

        Raises:
            OptionError: The shards cannot be made one file.
        """
        self.missing.remove(shard)
        self.done += len(shard.records)
        if not self.missing:
            self._finish()

    def _finish(self) -> None:
        if self._whole is None:
            return
        paths = [shard.path for shard in self._shards]
        try:
            join_whole(self._whole, paths)
        except OptionError:
            # Elsewhere nothing is locked, and another run may have been first.
            if not self._is_joined(self._whole):
                raise
        remove(paths)
        self.close()

    def _settle(self, *, resume: bool, overwrite: bool) -> None:
        there = self._names()
        whole = self._whole is not None and exists(self._whole)
        if overwrite:
            remove([join(self._folder, name) for name in there])
        elif resume and whole and self._whole and (not there or self._is_joined(self._whole)):
            self._check_whole(self._whole)
            remove([join(self._folder, name) for name in there])
        elif resume:
            self._check(there)
        elif there or whole:
            name = self._whole if whole else self._folder
            raise OptionError(
                f"{name}: has rows already; --resume goes on after them, --overwrite begins anew"
            )

    def _names(self) -> list[str]:
        """Names of the shards that are there."""
        names = names_in(self._folder)
        return [name for name in names if name.startswith(_FIRST) and name.endswith(_LAST)]

    def _is_joined(self, whole: str) -> bool:
        """Whether the file was made of all shards, of which some are still to be deleted.

        They are deleted from the first on, so those are the last ones and the end of the file.
        Others are of a run that is to replace the file.
        """
        there = self._names()
        last = [shard.path for shard in self._shards[len(self._shards) - len(there) :]]
        if not there or len(there) >= len(self._shards) or not exists(whole):
            return False
        if [join(self._folder, name) for name in there] != last:
            return False
        with open_read(whole) as file:
            content = file.read()
        left = b"".join(map(_read, last))
        return content.count(b"\n") == self._total and content.endswith(left)

    def _check_whole(self, path: str) -> None:
        """The output of a run that came to its end."""
        records = list(chain.from_iterable(shard.records for shard in self._shards))
        self._compare(path, records)
        self.done = len(records)
        self.missing.clear()

    def _check(self, there: Sequence[str]) -> None:
        """Compare the shards that are there with the input."""
        expected = {shard.path: shard for shard in self._shards}
        for name in there:
            path = join(self._folder, name)
            if path not in expected:
                raise OptionError(
                    f"{path}: is none of {len(expected)} shards of this input; give the same "
                    "--shard-rows as before, or another --output"
                )
        for name in there:
            shard = expected[join(self._folder, name)]
            self._compare(shard.path, shard.records)
            self.missing.remove(shard)
            self.done += len(shard.records)
        if there and not self.missing:  # it ended just before they became one file
            self._finish()

    def _compare(self, path: str, records: Sequence[Record]) -> None:
        with open_read(path) as file:
            lines = file.read().splitlines()
        if len(lines) != len(records):
            raise OptionError(
                f"{path}: has {len(lines)} rows instead of {len(records)}; only whole shards can "
                "be resumed"
            )
        for number, (line, record) in enumerate(zip(lines, records, strict=True), 1):
            self.failed += has_error(line, number, record, path)


def _read(path: str) -> bytes:
    with open_read(path) as file:
        return file.read()

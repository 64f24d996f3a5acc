"""Where long jobs are kept: SQLite, in memory or in a file that only its owner can read.

One thread at a time. In a file, what a job has no more need of is overwritten with zeros, before
its place is given back to the disk: there, and in the journal, into which SQLite copies it first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from ark_asr.errors import OptionError
from ark_asr.server.jobs.records import Job, Status

Fields: TypeAlias = tuple[tuple[str, str], ...]

_APPLICATION = 0x41524B4A  # "ARKJ"
_VERSION = 1
_BLOCK = 1 << 20
_ROW_BYTES = 1 << 12  # besides its recording
# A job with which the server has ended so often without a clip of progress must be what ends it.
_MOST_ATTEMPTS = 3
_SCHEMA = f"""
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
        created REAL NOT NULL, filename TEXT NOT NULL, model TEXT NOT NULL, fields TEXT NOT NULL,
        size INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL
        DEFAULT 0, origin TEXT, clips INTEGER NOT NULL DEFAULT 0, done REAL NOT NULL DEFAULT 0,
        total REAL, error TEXT, ended REAL
    );
    CREATE TABLE uploads (id TEXT PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE segments (
        id TEXT NOT NULL, number INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (id, number)
    );
    CREATE TABLE results (id TEXT PRIMARY KEY, document TEXT NOT NULL);
"""
_COLUMNS = ", ".join(item.name for item in dataclasses.fields(Job))
_UNFINISHED = "status IN ('queued', 'running')"


class JobStore:
    """The jobs of a server.

    Args:
        path: The file; ``None`` keeps all in memory.

    Raises:
        OptionError: The file is none of jobs, is in use, or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._journal = None if path is None else path.with_name(f"{path.name}-journal")
        try:
            if path is not None:  # before SQLite makes it for everybody to read
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._base = sqlite3.connect(
                ":memory:" if path is None else path, timeout=1, check_same_thread=False
            )
            with ExitStack() as undo:
                undo.callback(self._base.close)
                self._open(path)
                self._give_back()  # what was left by a server that was killed
                undo.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise OptionError(f"{path}: cannot be used for jobs ({error})") from None

    def _open(self, path: Path | None) -> None:
        run = self._base.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = PERSIST")  # deleting it would leave to the disk what it holds
        run("PRAGMA secure_delete = ON")
        run("PRAGMA temp_store = MEMORY")
        run("PRAGMA auto_vacuum = INCREMENTAL")  # a full one cuts off what is not overwritten yet
        run("BEGIN EXCLUSIVE")  # whoever else has it open is found here
        if not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._base.executescript(_SCHEMA)
        self._base.commit()
        kind = run("PRAGMA application_id").fetchone(), run("PRAGMA user_version").fetchone()
        if kind != ((_APPLICATION,), (_VERSION,)):
            raise OptionError(f"{path}: holds no jobs of this version; name another file")

    def close(self) -> None:
        """End; what is in memory only is gone."""
        self._base.close()
        if (
            self._journal is not None
            and self._journal.exists()
            and not self._journal.stat().st_size
        ):
            self._journal.unlink()

    def largest(self) -> int:
        """Bytes of the largest recording that can be kept."""
        return self._base.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - _ROW_BYTES

    def add(self, job: Job, fields: Fields, upload: bytes) -> None:
        """A new job; its number is the next one, whatever it says."""
        with self._change() as run:
            run(
                "INSERT INTO jobs (id, owner, created, filename, model, fields, size) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job.id, job.owner, job.created, job.filename, job.model, json.dumps(fields),
                 len(upload)),
            )  # fmt: skip
            run("INSERT INTO uploads VALUES (?, ?)", (job.id, upload))

    def jobs(self) -> list[Job]:
        """All of them, the oldest first."""
        rows = self._base.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY number")  # noqa: S608
        return [_job(row) for row in rows]

    def waiting_bytes(self) -> int:
        """Those of the recordings of all jobs that are not over."""
        found = self._base.execute(f"SELECT total(size) FROM jobs WHERE {_UNFINISHED}")  # noqa: S608
        return int(found.fetchone()[0])

    def begin_again(self, now: float) -> None:
        """Jobs that were running when an earlier server ended wait again.

        Raises:
            OptionError: The file cannot be written.
        """
        error = {
            "message": f"the server ended {_MOST_ATTEMPTS} times while it was at this",
            "type": "server_error", "param": None, "code": "crashed",
        }  # fmt: skip
        query = "SELECT id FROM jobs WHERE status = 'running' AND attempts >= ?"
        try:
            for (name,) in self._base.execute(query, (_MOST_ATTEMPTS,)).fetchall():
                self.end(name, "failed", now, error=error)
            with self._change() as run:
                run("UPDATE jobs SET status = 'queued' WHERE status = 'running'")
        except sqlite3.Error as problem:
            raise OptionError(f"the file of jobs cannot be written ({problem})") from None

    def put_back(self) -> None:
        """Jobs that are running wait again, and this server's end does not count against them."""
        with self._change() as run:
            run(
                "UPDATE jobs SET status = 'queued', attempts = max(attempts - 1, 0) "
                "WHERE status = 'running'"
            )

    def take(self, name: str) -> tuple[Fields, bytes] | None:
        """Begin with a job: what was asked for, and the recording; nothing if it is over."""
        with self._change() as run:
            run(
                f"UPDATE jobs SET status = 'running', attempts = attempts + 1 "  # noqa: S608
                f"WHERE id = ? AND {_UNFINISHED}",
                (name,),
            )
        query = "SELECT fields, data FROM jobs JOIN uploads USING (id) WHERE id = ?"
        if (found := self._base.execute(query, (name,)).fetchone()) is None:
            return None
        fields, data = found
        return tuple((key, value) for key, value in json.loads(fields)), data

    def go_on(self, name: str, origin: str) -> int:
        """The pieces that are done; none if they were done in another way than this one.

        Args:
            name: Of the job.
            origin: All that its transcript depends on besides the recording.
        """
        query = "SELECT origin, clips FROM jobs WHERE id = ?"
        before, clips = self._base.execute(query, (name,)).fetchone()
        if before == origin:
            return int(clips)
        with self._change() as run:
            run("DELETE FROM segments WHERE id = ?", (name,))
            run("UPDATE jobs SET origin = ?, clips = 0, done = 0 WHERE id = ?", (origin, name))
        return 0

    def add_piece(
        self, name: str, records: Sequence[Mapping[str, Any]], done: float, total: float | None
    ) -> None:
        """One more piece is done: its segments, and how far that is, in seconds."""
        with self._change() as run:
            (number,) = run("SELECT count(*) FROM segments WHERE id = ?", (name,)).fetchone()
            for at, record in enumerate(records, start=number + 1):
                text = json.dumps(record, ensure_ascii=False)
                run("INSERT INTO segments VALUES (?, ?, ?)", (name, at, text))
            run(
                "UPDATE jobs SET clips = clips + 1, attempts = 0, done = max(done, ?), total = ? "
                "WHERE id = ?",
                (done, total, name),
            )

    def segments(self, name: str, after: int = 0) -> list[tuple[int, str]]:
        """Numbers, from 1, and JSON objects of the segments behind a number."""
        query = "SELECT number, record FROM segments WHERE id = ? AND number > ? ORDER BY number"
        return self._base.execute(query, (name, after)).fetchall()

    def end(
        self,
        name: str,
        status: Status,
        now: float,
        *,
        error: Mapping[str, Any] | None = None,
        result: str | None = None,
        duration: float | None = None,
    ) -> None:
        """A job is over; nothing happens if it was already. Its recording is not kept."""
        with self._change() as run:
            over = run(
                f"UPDATE jobs SET status = ?, ended = ?, error = ?, done = coalesce(?, done), "  # noqa: S608
                f"total = coalesce(?, total) WHERE id = ? AND {_UNFINISHED}",
                (status, now, error and json.dumps(error), duration, duration, name),
            ).rowcount
            run("DELETE FROM uploads WHERE id = ?", (name,))
            if over and result is not None:
                run("INSERT INTO results VALUES (?, ?)", (name, result))

    def result(self, name: str) -> str | None:
        """The transcript of a job that is done, in our JSON."""
        found = self._base.execute("SELECT document FROM results WHERE id = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def forget(self, name: str) -> None:
        """Delete everything of a job."""
        with self._change() as run:
            for table in ("jobs", "uploads", "segments", "results"):
                run(f"DELETE FROM {table} WHERE id = ?", (name,))  # noqa: S608 - our own names

    def expire(self, before: float) -> bool:
        """Forget what was over before that time; whether there was something."""
        query = "SELECT id FROM jobs WHERE ended < ?"
        names = [name for (name,) in self._base.execute(query, (before,))]
        for name in names:
            self.forget(name)
        return bool(names)

    @contextmanager
    def _change(self) -> Iterator[Any]:
        """One transaction."""
        with self._base, closing(self._base.cursor()) as cursor:
            yield cursor.execute
        self._give_back()

    def _give_back(self) -> None:
        """The place of what is overwritten; that of the journal once it is."""
        # The change itself has been made. With the next one, this is tried again.
        with suppress(sqlite3.Error, OSError):
            self._overwrite_journal()
            if self._base.execute("PRAGMA freelist_count").fetchone()[0]:
                self._base.executescript("PRAGMA incremental_vacuum")  # `execute` does one page
                self._overwrite_journal()

    def _overwrite_journal(self) -> None:
        if self._journal is not None:
            with self._journal.open("r+b") as file:
                left = file.seek(0, os.SEEK_END)
                file.seek(0)
                while left > 0:
                    left -= file.write(bytes(min(left, _BLOCK)))
                file.flush()
                os.fsync(file.fileno())
                file.truncate(0)


def _job(row: Sequence[Any]) -> Job:
    job = Job(*row)
    return dataclasses.replace(job, error=json.loads(row[-1]) if row[-1] else None)

"""Long jobs on their way: a few at a time, in turn between their owners, behind all other work."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ark_asr import __version__
from ark_asr.pipeline.drift import flag_drift
from ark_asr.pipeline.journal import fingerprint
from ark_asr.server.desk import Service
from ark_asr.server.host import Loaded
from ark_asr.server.jobs.records import Job, in_turn
from ark_asr.server.jobs.store import JobStore
from ark_asr.server.jobs.thread import StoreThread
from ark_asr.server.problems import Problem, problem_of
from ark_asr.server.ticket import Spoken
from ark_asr.server.upload import Form, Upload
from ark_asr.server.wanted import Asked, WantedJob, wanted_job
from ark_asr.types import Progress, Segment, Transcript
from ark_asr.writers import get_writer, parse_transcripts
from ark_asr.writers.records import segment_record

# They share the engine as requests do; each has its recording and a process that decodes it.
AT_ONCE = 4
_NO_ROOM_SECONDS = 5.0
_SWEEP_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Run:
    """A job that is being worked on.

    Attributes:
        began: When its sound was begun, on the clock of `time.monotonic`.
        resumed: Seconds of it that were done then.
    """

    job: Job
    task: asyncio.Task[None] | None = None
    began: float | None = None
    resumed: float = 0.0


class Jobs:
    """The long jobs of a server.

    Args:
        service: What transcribes them.
        store: Where they are kept.

    Attributes:
        changed: Set when anything has changed, and then replaced.
        closing: No more jobs are begun, and nobody is kept waiting for one.
    """

    def __init__(self, service: Service, store: JobStore) -> None:
        self.changed = asyncio.Event()
        self.closing = False
        self._service = service
        self._store = store
        self._thread = StoreThread()
        self._ask, self._surely = self._thread.ask, self._thread.surely
        self._adding = asyncio.Lock()
        self._runs: dict[str, _Run] = {}
        self._filling = asyncio.Lock()
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, or go on with what an earlier server left."""
        self._sweeping = asyncio.create_task(self._sweep())
        await self._fill()

    def hang_up(self) -> None:
        """The server begins to stop: who listens to a job hears the rest of the next server."""
        self.closing = True
        self._beat()

    async def stop(self) -> None:
        """End what runs, and begin nothing more; the store stays open."""
        self.hang_up()
        tasks = [run.task for run in self._runs.values()] + [self._sweeping]
        await _end(*(task for task in tasks if task is not None))

    async def close(self) -> None:
        """Stop, and leave what is not finished in the store, as if nobody had begun with it.

        Called when the engine has ended: a job that keeps it from its end must count as one.
        """
        await self.stop()
        try:
            with suppress(Problem):  # it cannot be written; then the job has one attempt less
                await self._ask(self._store.put_back)
        finally:  # also where the file has been damaged meanwhile
            await self._ask(self._store.close)
            self._thread.close()

    async def check_room(self, owner: str, size: int = 0) -> None:
        """Whether one more job can be taken.

        Raises:
            Problem: 429: it cannot.
        """
        settings = self._service.settings
        jobs = await self._ask(self._store.jobs)
        mine = sum(job.owner == owner for job in jobs)
        if len(jobs) >= settings.max_jobs or mine >= settings.max_jobs_per_client:
            who = f"{len(jobs)} are" if len(jobs) >= settings.max_jobs else f"{mine} of yours are"
            message = f"no more jobs: {who} here; delete those that are over, or wait"
            raise _full(message)
        if size + await self._ask(self._store.waiting_bytes) > settings.max_job_bytes:
            raise _full("the jobs that wait leave no room for a recording of that size; wait")

    async def add(self, owner: str, form: Form, want: WantedJob) -> dict[str, Any]:
        """A new job, as it stands in the queue.

        Raises:
            Problem: 429: there is no room for it; 413: there never can be.
        """
        upload = want.asked.file
        if len(upload.data) > (most := await self._ask(self._store.largest)):
            message = f"jobs hold up to {most:,} bytes; send it in a compressed format, or in parts"
            raise Problem(413, message, "file", "upload_too_large")
        name = f"job_{secrets.token_hex(12)}"
        model = want.asked.model or self._service.host.name
        job = Job(name, 0, owner, time.time(), upload.name, model)
        async with self._adding:  # who comes at the same time must find this one
            await self.check_room(owner, len(upload.data))
            await self._ask(self._store.add, job, form.fields, upload.data)
        record = await self.record(name, owner)
        await self._fill()
        return record

    async def get(self, name: str, owner: str) -> Job:
        """One job of this owner.

        Raises:
            Problem: 404: he has none of that name.
        """
        for job in await self._ask(self._store.jobs):
            if (job.id, job.owner) == (name, owner):
                return job
        raise _unknown()

    async def record(self, name: str, owner: str) -> dict[str, Any]:
        """One job of this owner, as clients see it; errors as `get`."""
        for one in await self.records(owner):  # one look: it may be deleted before another
            if one["id"] == name:
                return one
        raise _unknown()

    async def records(self, owner: str) -> list[dict[str, Any]]:
        """All jobs of this owner, the oldest first."""
        jobs = await self._ask(self._store.jobs)
        waiting = in_turn(
            (job for job in jobs if job.status == "queued"),
            (job for job in jobs if job.status == "running"),
        )
        places = {job.id: place for place, job in enumerate(waiting, start=1)}
        mine = (job for job in jobs if job.owner == owner)
        return [job.record(places.get(job.id), self._progress(job)) for job in mine]

    async def segments(self, name: str, after: int) -> list[tuple[int, str]]:
        """See `JobStore.segments`."""
        return await self._ask(self._store.segments, name, after)

    async def transcript(self, job: Job) -> str:
        """What was said, in our JSON.

        Raises:
            Problem: 409: the job is not done.
        """
        if job.status == "done" and (found := await self._ask(self._store.result, job.id)):
            return found
        why = f": {job.error['message']}" if job.error else ""
        raise Problem(409, f"the job has no result; it is {job.status}{why}", None, "no_result")

    async def cancel(self, job: Job) -> None:
        """Give up a job; its engine is free before the next token."""
        # First, so that nobody begins it again who looks for work meanwhile.
        await self._ask(self._store.end, job.id, "cancelled", time.time())
        run = self._runs.get(job.id)
        if run is not None and run.task is not None:
            await _end(run.task)
            self._runs.pop(job.id, None)  # a task that had not begun leaves nothing by itself
        await self._fill()

    async def forget(self, job: Job) -> None:
        """Give up a job and delete everything of it."""
        await self.cancel(job)
        await self._ask(self._store.forget, job.id)
        self._beat()

    async def _fill(self) -> None:
        """Begin as many jobs as may run."""
        async with self._filling:
            jobs = await self._ask(self._store.jobs)
            running = [run.job for run in self._runs.values()]
            waiting = [j for j in jobs if j.status == "queued" and j.id not in self._runs]
            for job in in_turn(waiting, running)[: AT_ONCE - len(running)]:
                if not self.closing:
                    run = self._runs[job.id] = _Run(job)
                    run.task = asyncio.create_task(self._run(run))
        self._beat()

    async def _run(self, run: _Run) -> None:
        """One job from its beginning to its end; whoever cancels this says what becomes of it."""
        name = run.job.id
        try:
            taken = await self._surely(self._store.take, name)
            self._beat()
            if taken is None:  # cancelled meanwhile
                return
            fields, data = taken
            found = await self._transcribe(run, Form(fields, Upload(run.job.filename, data)))
        except Exception as error:  # noqa: BLE001 - the client is told
            problem = problem_of(error)
            if problem.status >= 500 and not isinstance(error, Problem):
                _log.exception("a job failed")
            error_record = problem.body["error"]
            await self._surely(self._store.end, name, "failed", time.time(), error=error_record)
        else:
            document = str(get_writer("json").render(found))
            await self._surely(
                self._store.end, name, "done", time.time(), result=document,
                duration=found.duration,
            )  # fmt: skip
        finally:
            self._runs.pop(name, None)
        await self._fill()

    async def _transcribe(self, run: _Run, form: Form) -> Transcript:
        job, service = run.job, self._service
        want = wanted_job(form, service.host, service.settings)
        ticket = service.host.scheduler.admit(job.owner, background=True)
        with ticket, await self._model(want.asked.model) as loaded:
            asked = _possible(want, loaded)
            clips = await self._surely(self._store.go_on, job.id, self._origin(asked))
            work = await service.hear(ticket, loaded, asked, skip=clips)
            run.began, run.resumed = time.monotonic(), job.done if clips else 0.0
            async for piece in work.pieces():
                await self._keep(job, piece, work.hearing.total)
        segments: Sequence[Segment] = await self._segments(job)
        if want.speakers:
            segments = await work.with_speakers(segments)
        heard, warnings = work.hearing.heard, tuple(work.hearing.warnings)
        return Transcript(
            tuple(segments), heard, loaded.recognizer.name, job.filename, warnings=warnings
        )

    async def _keep(self, job: Job, piece: Sequence[Spoken], total: float | None) -> None:
        records = [segment_record(spoken.segment) for spoken in piece]
        done = max((record["end"] for record in records), default=job.done)
        await self._surely(self._store.add_piece, job.id, records, done, total)
        self._beat()

    async def _segments(self, job: Job) -> list[Segment]:
        """All of them, as they come back from the store: the same whether it was resumed or not."""
        rows = await self._ask(self._store.segments, job.id)
        lines = [json.dumps({"source": job.filename, **json.loads(text)}) for _, text in rows]
        found = parse_transcripts("\n".join(lines).encode(), job.id)
        return flag_drift([segment for transcript in found for segment in transcript.segments])

    async def _model(self, name: str | None) -> Loaded:
        """A model, waited for while there is no room for it."""
        while True:
            try:
                return await self._service.host.use(name)
            except Problem as problem:
                if problem.code != "no_memory":
                    raise
            await asyncio.sleep(_NO_ROOM_SECONDS)

    def _origin(self, asked: Asked) -> str:
        """What a transcript depends on besides the recording."""
        folder = self._service.host.find(asked.model).folder
        files, engine = fingerprint(folder.name, folder.path), self._service.settings.engine
        return f"{__version__} {files} {engine} {asked.options!r} {asked.cutting!r}"

    def _progress(self, job: Job) -> Progress | None:
        run = self._runs.get(job.id)
        if run is None or run.began is None:
            return None
        return Progress(job.done, job.total, time.monotonic() - run.began, (), run.resumed)

    async def _sweep(self) -> None:
        keep = self._service.settings.keep_results
        while True:
            if await self._surely(self._store.expire, time.time() - keep):
                self._beat()
            await asyncio.sleep(min(keep / 10, _SWEEP_SECONDS))

    def _beat(self) -> None:
        """Wake whoever waits for a change."""
        self.changed.set()
        self.changed = asyncio.Event()


def _possible(want: WantedJob, loaded: Loaded) -> Asked:
    """What is asked for, without words if nobody insists on them and the model shows none."""
    if not want.words_if_known or loaded.times_words():
        return want.asked
    return replace(want.asked, options=replace(want.asked.options, words=False))


def _unknown() -> Problem:
    return Problem(404, "there is no such job; it may have expired", None, "job_not_found")


def _full(message: str) -> Problem:
    return Problem(429, message, None, "jobs_full", {"Retry-After": "60"})


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""The routes of long jobs; each client sees his own only."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ark_asr.errors import AudioError
from ark_asr.server.desk import Service, client_of
from ark_asr.server.events import Events, event
from ark_asr.server.jobs.examples import (
    CANCEL,
    JOB,
    JOB_EVENTS,
    JOB_RESULT,
    JOBS,
    NEW_JOB,
    NO_JOB,
    TYPES,
)
from ark_asr.server.jobs.records import OVER, Job
from ark_asr.server.jobs.runner import Jobs
from ark_asr.server.problems import invalid, problem_of
from ark_asr.server.upload import read_form
from ark_asr.server.wanted import wanted_job
from ark_asr.writers import FORMATS, get_writer, parse_transcripts

_NUMBER = re.compile(r"[0-9]{1,18}")  # a larger one fits into no database
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._()-]")


def router(service: Service, jobs: Jobs) -> APIRouter:
    """``/jobs``."""
    routes = APIRouter(prefix="/jobs")
    settings = service.settings

    @routes.post("", status_code=202, openapi_extra=NEW_JOB, response_class=JSONResponse)
    async def begin(request: Request) -> Response:
        """Take a recording; what is said in it is written down when the engine has time."""
        owner = client_of(request)
        await jobs.check_room(owner)
        with service.admit(request):
            form = await read_form(
                request, settings.max_upload, settings.stall, longest=settings.timeout
            )
            want = wanted_job(form, service.host, settings)
            if not want.asked.file.data:
                raise AudioError(f"{want.asked.file.name}: is empty (0 bytes)")
            record = await jobs.add(owner, form, want)
        return JSONResponse(record, 202, {"Location": f"/jobs/{record['id']}"})

    @routes.get("", openapi_extra=JOBS, response_class=JSONResponse)
    async def listed(request: Request) -> dict[str, Any]:
        """Your jobs, the oldest first."""
        return {"object": "list", "data": await jobs.records(client_of(request))}

    @routes.get("/{name}", openapi_extra=JOB, response_class=JSONResponse)
    async def one(request: Request, name: str) -> dict[str, Any]:
        """How far a job is."""
        return await jobs.record(name, client_of(request))

    @routes.get("/{name}/result", openapi_extra=JOB_RESULT, response_class=Response)
    async def result(request: Request, name: str) -> Response:
        """What was said, in any format."""
        form = request.query_params.get("format", "json")
        if form not in FORMATS:
            raise invalid("format", f"{form!r}; take one of {', '.join(FORMATS)}")
        job = await jobs.get(name, client_of(request))
        document = await jobs.transcript(job)
        body = await asyncio.to_thread(_rendered, document, form)
        return Response(body, media_type=TYPES[form], headers=_named(job, form))

    @routes.get("/{name}/events", openapi_extra=JOB_EVENTS, response_class=Response)
    async def events(request: Request, name: str) -> Response:
        """Progress and settled segments, as they come, until the job is over."""
        owner = client_of(request)
        await jobs.get(name, owner)
        last = request.headers.get("last-event-id", "")
        return Events(_told(jobs, name, owner, int(last) if _NUMBER.fullmatch(last) else 0))

    @routes.post("/{name}/cancel", openapi_extra=CANCEL, response_class=JSONResponse)
    async def cancel(request: Request, name: str) -> dict[str, Any]:
        """Give up a job; nothing changes if it is over."""
        owner = client_of(request)
        await jobs.cancel(await jobs.get(name, owner))
        return await jobs.record(name, owner)

    @routes.delete("/{name}", openapi_extra=NO_JOB, response_class=JSONResponse)
    async def forget(request: Request, name: str) -> dict[str, Any]:
        """Give up a job, and delete everything of it."""
        await jobs.forget(await jobs.get(name, client_of(request)))
        return {"id": name, "object": "transcription.job", "deleted": True}

    return routes


async def _told(jobs: Jobs, name: str, owner: str, after: int) -> AsyncIterator[bytes]:
    """All events of a job from its ``after``-th segment on, until it or the server ends."""
    try:
        told: dict[str, Any] = {}
        while True:
            changed = jobs.changed
            record = await jobs.record(name, owner)
            for number, text in await jobs.segments(name, after):
                yield event(json.loads(text), kind="segment", number=number)
                after = number
            if record["status"] in OVER:
                yield event(record, kind=record["status"])
                return
            if record != told:
                yield event(record, kind="progress")
                told = record
            if jobs.closing:
                return
            await changed.wait()
    except Exception as error:  # noqa: BLE001 - the status has been sent, so it is told here
        yield event(problem_of(error).body, kind="error")


def _rendered(document: str, form: str) -> str | bytes:
    if form == "json":
        return document
    (transcript,) = parse_transcripts(document.encode(), "the result")
    return get_writer(form).render(transcript)


def _named(job: Job, form: str) -> dict[str, str]:
    """The name under which it is saved: that of the recording."""
    stem = PurePosixPath(job.filename.replace("\\", "/")).stem or "transcript"
    name = quote(f"{stem}.{form}", safe="", errors="replace")
    plain = _NOT_PLAIN.sub("_", f"{stem}.{form}")  # for curl, which does not know the other
    return {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{name}"}

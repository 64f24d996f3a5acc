"""What ``/openapi.json`` says of the routes of long jobs."""

from __future__ import annotations

import json

from ark_asr.server.described import answer, form, in_events, in_json, in_path, operation, problem
from ark_asr.server.examples import COMMON
from ark_asr.server.schemas import listed, typed
from ark_asr.writers import FORMATS

# Content types of results, by format.
TYPES = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "lrc": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
_RECORD = {
    "id": "job_8f3a52c0d94b7e61a2c5d0f7", "object": "transcription.job", "status": "running",
    "created_at": 1790000000, "filename": "lecture.m4a", "model": "ark-mini", "seconds_done": 812.4,
    "seconds_total": 5400.0, "queue_position": None, "error": None, "speed": 11.6,
    "seconds_left": 395.5,
}  # fmt: skip
_STILL = {name: _RECORD[name] for name in _RECORD if name not in ("speed", "seconds_left")}
_WAITING = {
    **_STILL, "status": "queued", "seconds_done": 0.0, "seconds_total": None, "queue_position": 1,
}  # fmt: skip
_OVER = {**_STILL, "status": "done", "seconds_done": 5400.0}
_ID = in_path("The job's `id`.", str(_RECORD["id"]))
_BINARY = {"docx": {"format": "binary"}}
_NO_JOB = {"404": problem("404", "You have no such job; it may have expired")}

JOBS = operation(
    "list_jobs", "jobs", answer(in_json("JobList", {"object": "list", "data": [_RECORD]})), "507"
)
NEW_JOB = operation(
    "create_job", "jobs",
    answer(
        in_json("Job", _WAITING), "Accepted", "202",
        headers={"Location": {"description": "The job.", "schema": {"type": "string"}}},
        links={
            name: {"operationId": name, "parameters": {"name": "$response.body#/id"}}
            for name in ("retrieve_job", "job_result", "job_events", "cancel_job", "delete_job")
        },
    ),
    "400 404 408 413 415 429 507",
    requestBody=form({
        **COMMON, "speakers": typed("boolean", "Tell speakers apart.", default=False),
        "timestamp_granularities[]": listed(
            {"type": "string", "enum": ["segment", "word"]},
            "Words have times, if the model shows them, unless this asks for `segment` only."),
    }),
)  # fmt: skip
JOB = operation("retrieve_job", "jobs", answer(in_json("Job", _RECORD)), "507",
                 parameters=[_ID], responses=_NO_JOB)  # fmt: skip
CANCEL = operation(
    "cancel_job", "jobs", answer(in_json("Job", {**_STILL, "status": "cancelled"})), "507",
    parameters=[_ID], responses=_NO_JOB,
)  # fmt: skip
NO_JOB = operation(
    "delete_job", "jobs",
    answer(in_json("DeletedJob", {
        "id": _RECORD["id"], "object": "transcription.job", "deleted": True})),
    "507", parameters=[_ID], responses=_NO_JOB,
)  # fmt: skip

_SEGMENT = {
    "start": 0.0, "end": 2.1, "text": "hello there", "raw_text": "hello there",
    "confidence": 0.93, "tokens": 4, "flags": [], "speaker": None, "words": [], "alternatives": [],
}  # fmt: skip
_TRANSCRIPT = {
    "schema": "ark-asr/transcript", "version": 1, "source": "lecture.m4a", "model": "ark-mini",
    "duration": 2.3, "text": "hello there", "segments": [_SEGMENT], "timings": None,
    "warnings": [],
}  # fmt: skip
JOB_RESULT = operation(
    "job_result", "jobs",
    answer(
        {
            **in_json("Transcript", _TRANSCRIPT),
            **{kind.partition(";")[0]: {"schema": {"type": "string", **_BINARY.get(name, {})}}
               for name, kind in TYPES.items() if name != "json"},
        },
        headers={"Content-Disposition": {
            "description": "Named like the recording.", "schema": {"type": "string"}}},
    ),
    "507",
    parameters=[_ID, {
        "name": "format", "in": "query", "description": "Form of the result, see docs/formats.md.",
        "schema": {"type": "string", "enum": list(FORMATS), "default": "json"},
    }],
    responses={
        **_NO_JOB,
        "400": problem("400", "There is no such format"),
        "409": problem("409", "The job has no result, or none yet"),
        "501": problem("501", "docx, of a server without the extra docx"),
    },
)  # fmt: skip


def _event(kind: str, data: object, head: str = "") -> str:
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n"


JOB_EVENTS = operation(
    "job_events", "jobs",
    answer(in_events(
        _event("progress", _RECORD) + _event("segment", _SEGMENT, "id: 1\n") + _event("done", _OVER)
    ), "progress, segment; at last done, failed or cancelled"),
    "507",
    parameters=[_ID, {
        "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
        "description": "The `id` of a segment: those up to it are not told again.",
    }],
    responses=_NO_JOB,
)  # fmt: skip

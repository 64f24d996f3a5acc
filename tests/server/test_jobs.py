"""Long jobs over HTTP: taken at once, followed, fetched, given up, and resumed after a crash."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ark_asr import TranscribeOptions
from ark_asr.audio import load_audio
from ark_asr.server.jobs.runner import AT_ONCE
from ark_asr.server.keys import add_key
from ark_asr.writers import FORMATS, get_writer, parse_transcripts
from serving import PATIENCE, eventually, http, serving, write_wav

USUAL = TranscribeOptions(words=True)


def send(url, recording, headers=None, **fields):
    files = {"file": (recording.name, recording.read_bytes())}
    return http.post(f"{url}/jobs", files=files, data=fields, headers=headers)


def told(url, job, after=None, headers=None):
    """All events of a job: name, number and data."""
    headers = {**(headers or {}), **({"Last-Event-ID": str(after)} if after else {})}
    with http.stream("GET", f"{url}/jobs/{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in answer.read().decode().strip().split("\n\n"):
            if block.startswith(":"):
                continue
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            yield lines["event"], lines.get("id"), json.loads(lines["data"])


def finished(url, recording, **fields):
    """The job's record when it is over."""
    *_, (_, _, record) = told(url, send(url, recording, **fields).json()["id"])
    return record


def result(url, job, form="json", **options):
    return http.get(f"{url}/jobs/{job}/result", params={"format": form}, **options)


def alike(one, other):
    """Equal but for rounding: which clips share a batch moves the last digits of a confidence."""
    if isinstance(one, float):
        return one == pytest.approx(other, abs=0.05)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return one == other


@pytest.fixture(scope="module")
def done(served, talk):
    return finished(served.url, talk)


@pytest.fixture
def halted(served):
    """The engine stands as long as the test lasts."""
    with served.standing():
        yield
        for job in http.get(f"{served.url}/jobs").json()["data"]:
            if job["status"] in ("queued", "running"):
                http.delete(f"{served.url}/jobs/{job['id']}")


def test_it_is_taken_at_once(served, talk, halted):
    answer = send(served.url, talk)
    record = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{record['id']}"
    assert record | {"id": "", "created_at": 0} == {
        "id": "", "object": "transcription.job", "status": "queued", "created_at": 0,
        "filename": talk.name, "model": "ark-mini", "seconds_done": 0.0, "seconds_total": None,
        "queue_position": 1, "error": None,
    }  # fmt: skip
    assert abs(record["created_at"] - time.time()) < 60
    listed = http.get(f"{served.url}/jobs").json()
    assert listed["object"] == "list"
    assert record["id"] in [job["id"] for job in listed["data"]]
    early = result(served.url, record["id"])
    assert (early.status_code, early.json()["error"]["code"]) == (409, "no_result")
    assert http.get(f"{served.url}/health").status_code == 200


def test_its_result_is_what_the_library_says(served, talk, done, recognizer):
    expected = replace(recognizer.transcribe(talk, USUAL), source=talk.name, timings=None)
    assert (done["status"], done["seconds_done"]) == ("done", done["seconds_total"])
    answer = result(served.url, done["id"])
    assert answer.headers["content-type"] == "application/json"
    assert alike(answer.json(), json.loads(get_writer("json").render(expected)))


@pytest.mark.parametrize("form", FORMATS)
def test_its_result_in_every_format(served, talk, done, form):
    answer = result(served.url, done["id"], form)
    (transcript,) = parse_transcripts(result(served.url, done["id"]).content, "")
    rendered = get_writer(form).render(transcript)
    assert answer.content == (rendered if isinstance(rendered, bytes) else rendered.encode())
    named = answer.headers["content-disposition"]
    assert f"filename*=UTF-8''{talk.stem}.{form}" in named
    assert f'filename="{talk.stem}.{form}"' in named  # all that curl -OJ understands


def test_its_events_are_the_segments_in_order_and_how_far_it_is(served, talk, done):
    events = list(told(served.url, send(served.url, talk).json()["id"]))
    assert [name for name, _, _ in events][-1] == "done"
    segments = [(number, data) for name, number, data in events if name == "segment"]
    found = result(served.url, events[-1][2]["id"]).json()["segments"]
    assert [data for _, data in segments] == found
    assert alike(found, result(served.url, done["id"]).json()["segments"])
    assert [number for number, _ in segments] == [str(n + 1) for n in range(len(segments))]
    progress = [data for name, _, data in events if name == "progress"]
    assert [one["seconds_done"] for one in progress] == sorted(
        one["seconds_done"] for one in progress
    )
    assert progress[-1]["speed"] > 0
    assert progress[-1]["seconds_total"] == pytest.approx(15.0, abs=0.1)
    assert progress[-1]["seconds_left"] >= 0


def test_who_listens_does_not_keep_a_server_from_its_end(talk):
    with serving() as served, served.standing():
        name = send(served.url, talk).json()["id"]
        with http.stream("GET", f"{served.url}/jobs/{name}/events") as answer:
            parts = answer.iter_text()
            assert "event: progress" in next(parts)
            served.server.should_exit = True
            assert "event: done" not in "".join(parts)  # it ends, and the engine stands still


def test_who_comes_back_gets_only_what_he_has_not_seen(served, done):
    everything = list(told(served.url, done["id"]))
    assert list(told(served.url, done["id"], after=2)) == everything[2:]
    for nonsense in ("x", "9" * 30, "9" * 5000):
        assert list(told(served.url, done["id"], after=nonsense)) == everything


def test_without_words_if_asked(served, hello):
    job = finished(served.url, hello, **{"timestamp_granularities[]": "segment"})
    assert [s["words"] for s in result(served.url, job["id"]).json()["segments"]] == [[]]


def test_what_is_no_recording_is_a_job_that_failed(served, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"hello, this is text")
    record = finished(served.url, tmp_path / "a.wav")
    assert (record["status"], record["error"]["code"]) == ("failed", "invalid_audio")
    answer = result(served.url, record["id"])
    assert answer.status_code == 409
    assert record["error"]["message"] in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"response_format": "srt"}, 400, "response_format"),
        ({"stream": "true"}, 400, "stream"),
        ({"include[]": "logprobs"}, 400, "include"),
        ({"language": "de"}, 400, "language"),
        ({"speakers": "true"}, 400, "speakers"),
        ({"prompt": "x"}, 400, "prompt"),
        ({"max_new_tokens": "0"}, 400, "max_new_tokens"),
        ({"beam": "4"}, 400, "beam"),
        ({"model": "other"}, 404, "model"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_once(served, hello, fields, status, param):
    answer = send(served.url, hello, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_an_empty_recording_and_an_unknown_format_are_refused(served, done, tmp_path):
    (tmp_path / "a.wav").touch()
    assert "0 bytes" in send(served.url, tmp_path / "a.wav").json()["error"]["message"]
    answer = result(served.url, done["id"], "pdf")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "format")


def test_it_can_be_forgotten(served, hello):
    name = finished(served.url, hello)["id"]
    url = f"{served.url}/jobs/{name}"
    assert http.delete(url).json()["deleted"] is True
    for answer in (http.get(url), result(served.url, name), http.delete(url)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


def test_who_listens_to_a_job_that_is_deleted_is_told(served, talk, halted):
    name = send(served.url, talk).json()["id"]
    with http.stream("GET", f"{served.url}/jobs/{name}/events") as answer:
        parts = answer.iter_text()
        assert "event: progress" in next(parts)
        http.delete(f"{served.url}/jobs/{name}")
        assert "job_not_found" in "".join(parts)


def test_cancelling_frees_the_engine_within_one_step(served, talk, monkeypatch):
    engine = served.app.state.service.host.first.loaded.recognizer._engine
    step, steps, answers, names = engine.step, [], [], queue.SimpleQueue()

    def cancelling(state, tokens):
        steps.append(tokens)
        if len(steps) == 2:  # in the middle of a clip: the answer comes while the engine stands
            url = f"{served.url}/jobs/{names.get(timeout=PATIENCE)}/cancel"
            answers.append(http.post(url).json()["status"])
        return step(state, tokens)

    monkeypatch.setattr(engine, "step", cancelling)
    name = send(served.url, talk).json()["id"]
    names.put(name)
    *_, (last, _, record) = told(served.url, name)
    assert (last, record["status"]) == ("cancelled", "cancelled")
    served.scheduler.call(lambda: None).result(PATIENCE)  # done when the engine is through
    assert (answers, len(steps)) == (["cancelled"], 2)
    monkeypatch.setattr(engine, "step", step)
    assert finished(served.url, talk)["status"] == "done"


def test_jobs_wait_in_a_queue(served, hello, halted):
    names = [send(served.url, hello).json()["id"] for _ in range(AT_ONCE + 2)]

    def places():
        return [http.get(f"{served.url}/jobs/{name}").json()["queue_position"] for name in names]

    assert places() == [None] * AT_ONCE + [1, 2]
    url = f"{served.url}/jobs/{names[-2]}/cancel"
    assert http.post(url).json()["status"] == "cancelled"
    assert http.post(url).json()["status"] == "cancelled"  # once more changes nothing
    assert places() == [None] * (AT_ONCE + 1) + [1]
    http.delete(f"{served.url}/jobs/{names[0]}")
    last = http.get(f"{served.url}/jobs/{names[-1]}").json()
    assert (last["status"], last["queue_position"]) in (("running", None), ("queued", 1))


def test_short_requests_go_first(served, talk, monkeypatch):
    """All clips of a request come before the next one of a job."""
    scheduler, of_jobs = served.scheduler, []
    monkeypatch.setattr(scheduler, "_batch_size", 1)
    with served.standing() as go_on, ThreadPoolExecutor(1) as client:
        standing = scheduler._decode

        def noting(batch):
            of_jobs.append(batch[0].ticket.background)
            standing(batch)

        scheduler._decode = noting
        job = send(served.url, talk).json()["id"]
        assert eventually(lambda: of_jobs)  # its first clip is under way
        files = {"file": (talk.name, talk.read_bytes())}
        answer = client.submit(http.post, f"{served.url}/v1/audio/transcriptions", files=files)
        assert eventually(lambda: any(map(all_here, scheduler._tickets)))
        go_on.set()
        assert answer.result(PATIENCE).status_code == 200
        assert [name for name, _, _ in told(served.url, job)][-1] == "done"
    clips = of_jobs.count(False)
    assert clips > 1
    assert of_jobs == [True, *[False] * clips, *[True] * (clips - 1)]


def all_here(ticket):
    """Whether it is a request whose clips wait for the engine, the last one too."""
    return not ticket.background and len(ticket.pieces) == ticket.pending > 0


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A server with keys and little room."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    names = {name: {"Authorization": f"Bearer {add_key(keys, name)}"} for name in ("ann", "bob")}
    with serving(keys=keys, max_jobs=4, max_job_bytes=1 << 20) as served:
        served.names = names
        yield served


def test_each_sees_his_own_jobs_only(narrow, hello):
    ann, bob = narrow.names["ann"], narrow.names["bob"]
    name = send(narrow.url, hello, ann).json()["id"]
    assert http.get(f"{narrow.url}/jobs").status_code == 401
    assert [job["id"] for job in http.get(f"{narrow.url}/jobs", headers=ann).json()["data"]] == [
        name
    ]
    assert http.get(f"{narrow.url}/jobs", headers=bob).json()["data"] == []
    url = f"{narrow.url}/jobs/{name}"
    answers = [http.get(f"{url}{end}", headers=bob) for end in ("", "/result", "/events")]
    answers += [http.post(f"{url}/cancel", headers=bob), http.delete(url, headers=bob)]
    assert {answer.status_code for answer in answers} == {404}
    assert list(told(narrow.url, name, headers=ann))[-1][0] == "done"
    assert http.delete(url, headers=ann).status_code == 200


def test_one_that_is_over_is_forgotten_after_a_while_without_anybody_asking(hello):
    with serving(keep_results=0.2) as served:
        url = f"{served.url}/jobs/{send(served.url, hello).json()['id']}"
        assert eventually(lambda: http.get(url).status_code == 404)
        assert http.get(f"{served.url}/jobs").json()["data"] == []


def test_their_number_and_size_are_bounded(narrow, hello, tmp_path):
    ann = narrow.names["ann"]
    large = tmp_path / "large.wav"
    large.write_bytes(hello.read_bytes() + b"\0" * (1 << 20))
    answer = send(narrow.url, large, ann)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "jobs_full")
    statuses = [send(narrow.url, hello, ann).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]  # half of four are hers
    assert send(narrow.url, hello, narrow.names["bob"]).status_code == 202


@contextmanager
def program(*arguments):
    """A server in a process of its own: its address."""
    command = [sys.executable, "-m", "ark_asr", "serve", "--port", "0", "--threads", "1"]
    command += map(str, arguments)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.url = re.search(r"http://\S+", process.stderr.readline())[0]
            yield process
        finally:
            process.kill()
            process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_server_goes_on_where_it_was(root, tmp_path, served):
    sound = load_audio(root / "samples" / "minute.flac")
    recording = write_wav(tmp_path / "minute.wav", sound.samples)
    kept = tmp_path / "jobs.db"
    with program("--jobs", kept) as server:
        name = send(server.url, recording).json()["id"]
        with http.stream("GET", f"{server.url}/jobs/{name}/events") as answer:
            for line in answer.iter_lines():
                if line == "id: 4":
                    os.kill(server.pid, signal.SIGKILL)
                    break
    assert kept.stat().st_mode & 0o077 == 0
    with program("--jobs", kept) as server:
        *_, (last, _, record) = told(server.url, name)
        found = result(server.url, name).json()
        metrics = http.get(f"{server.url}/metrics").text
    assert (last, record["filename"]) == ("done", recording.name)
    undisturbed = finished(served.url, recording)
    assert alike(found, result(served.url, undisturbed["id"]).json())
    # What was finished has not been decoded again.
    spoken = [segment["end"] - segment["start"] for segment in found["segments"]]
    engine = float(re.search(r"^ark_asr_engine_audio_seconds (\S+)", metrics, re.MULTILINE)[1])
    assert engine < sum(spoken[4:]) + 0.1
    # The recording is not kept: a second of it would be larger than all that is left.
    assert kept.stat().st_size < recording.stat().st_size / 4

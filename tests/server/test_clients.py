"""Clients that leave, come in numbers, or are still there when the server is stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import httpx
import openai
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from ark_asr.server.desk import Work
from ark_asr.server.events import Events
from ark_asr.server.openai import _parts
from ark_asr.server.settings import Settings
from ark_asr.server.ticket import Spoken
from ark_asr.types import Segment
from serving import PATIENCE, eventually, http, serving


def request(served, recording, **fields):
    """The bytes of a whole request."""
    form = httpx.Request(
        "POST", f"{served.url}/v1/audio/transcriptions", data=fields,
        files={"file": ("a.wav", recording.read_bytes())},
    )  # fmt: skip
    body = form.read()
    head = f"POST {form.url.path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
    return head.encode() + b"\r\n" + body


@pytest.fixture
def slow(served):
    """The engine waits before each piece until it is allowed to go on."""
    with served.standing() as go_on:
        yield go_on


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_who_hangs_up_is_forgotten(served, talk, slow, fields, monkeypatch):
    # One clip at a time: all of them may be there before the engine takes its first batch.
    monkeypatch.setattr(served.scheduler, "_batch_size", 1)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request(served, talk, **fields))
        assert eventually(lambda: served.scheduler.waiting == 1)
        assert eventually(lambda: served.scheduler.clips > 0)
    # The engine still stands: leaving alone must be enough.
    assert eventually(lambda: served.scheduler.waiting == 0)
    assert served.scheduler.clips == 0
    slow.set()


def test_half_an_upload_leaves_nothing(served, talk):
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request(served, talk)[:50_000])
        assert eventually(lambda: served.scheduler.waiting == 1)
    assert eventually(lambda: served.scheduler.waiting == 0)


def test_many_at_once_each_get_their_own_words(served, hello, talk, recognizer):
    expected = {path: recognizer.transcribe(path).text for path in (hello, talk)}

    def ask(path):
        files = {"file": (path.name, path.read_bytes())}
        url = f"{served.url}/v1/audio/transcriptions"
        return path, http.post(url, files=files).json()["text"]

    with ThreadPoolExecutor(4) as clients:
        for path, text in clients.map(ask, [hello, talk, hello, hello]):
            assert text == expected[path]


def test_the_queue_is_bounded_for_each_client(served, talk, slow):
    url = f"{served.url}/v1/audio/transcriptions"
    most = served.app.state.service.settings.max_per_client
    open_ones = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(most)]
    try:
        for number, connection in enumerate(open_ones, 1):
            connection.sendall(request(served, talk)[:5000])
            assert eventually(lambda number=number: served.scheduler.waiting == number)
        answer = http.post(url, files={"file": ("a.wav", talk.read_bytes())})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-queue-position"] == str(most + 1)
        assert answer.json()["error"]["type"] == "rate_limit_error"
    finally:
        for connection in open_ones:
            connection.close()
    assert eventually(lambda: served.scheduler.waiting == 0)


def test_metrics_count_without_content(served, hello):
    files = {"file": ("secret.flac", hello.read_bytes())}
    http.post(f"{served.url}/asr", files=files)
    http.get(f"{served.url}/private/path")
    page = http.get(f"{served.url}/metrics").text
    found = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert float(found['ark_asr_requests_total{route="/asr",status="200"}']) >= 1
    assert float(found["ark_asr_audio_seconds_total"]) >= 3
    assert float(found["ark_asr_engine_seconds"]) > 0
    assert "secret" not in page
    assert "private" not in page


def test_a_failure_of_our_own_is_counted_as_one(served, monkeypatch):
    monkeypatch.setattr(served.app.state.service.host, "models", lambda: 1 / 0)
    answer = http.get(f"{served.url}/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    page = http.get(f"{served.url}/metrics").text
    assert 'ark_asr_requests_total{route="/v1/models",status="500"} 1.0' in page


def test_a_request_has_a_number_that_the_log_has_too(served, monkeypatch, caplog):
    ours = re.compile("[0-9a-f]{32}")
    proxys = "0123456789abcdef0123456789ABCDEF"
    monkeypatch.setattr(served.app.state.service.host, "models", lambda: 1 / 0)
    with caplog.at_level(logging.INFO, "ark_asr"):
        for path, given in (
            ("/health", None),
            ("/health", proxys),
            ("/health", "alice-asked-for-this"),  # a word would be logged
            ("/v1/models", None),  # fails
            ("/nothing", None),
        ):
            answer = http.get(served.url + path, headers={"x-request-id": given} if given else {})
            number = answer.headers["x-request-id"]
            assert number == proxys if given == proxys else ours.fullmatch(number)
            assert eventually(lambda number=number: number in numbers(caplog))
        with connect(f"ws://127.0.0.1:{served.port}/live") as socket_:
            number = socket_.response.headers["x-request-id"]
            socket_.send('{"type": "end"}')
            list(socket_)
        assert eventually(lambda: number in numbers(caplog))
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as failed,
    ):
        client.models.list()
    assert ours.fullmatch(failed.value.request_id)


def numbers(caplog):
    return [one.request for one in caplog.records if one.name == "ark_asr.server.requests"]


def test_a_websocket_is_counted_and_logged_without_its_query(served, caplog):
    assert eventually(served.at_rest)  # what others asked before is logged
    with (
        caplog.at_level(logging.INFO, "ark_asr"),
        pytest.raises(ConnectionClosedError),
        connect(f"ws://127.0.0.1:{served.port}/live?secret=words") as socket_,
    ):
        socket_.recv(timeout=PATIENCE)

    def lines():
        return [record for record in caplog.records if record.name == "ark_asr.server.requests"]

    assert eventually(lines)
    (line,) = lines()
    assert (line.route, line.status) == ("/live", 101)
    assert "secret" not in "".join(str(vars(one)) for one in caplog.records if "ark" in one.name)
    page = http.get(f"{served.url}/metrics").text
    assert 'ark_asr_requests_total{route="/live",status="101"}' in page


def test_a_stop_lets_running_requests_finish(hello, recognizer):
    with serving() as served, ThreadPoolExecutor(1) as client:
        files = {"file": ("a.flac", hello.read_bytes())}
        with served.standing():
            future = client.submit(http.post, f"{served.url}/asr", files=files)
            assert eventually(lambda: served.scheduler.waiting == 1)
            served.server.should_exit = True
            assert eventually(lambda: not served.server.servers[0].is_serving())
        assert future.result(PATIENCE).json()["text"] == recognizer.transcribe(hello).text
        served.thread.join(PATIENCE)
    assert served.app.state.service.host.state == "stopped"


def test_a_request_that_takes_too_long_is_given_up(hello):
    with serving(timeout=2.0) as served, served.standing():
        answer = http.post(f"{served.url}/asr", files={"file": ("a.flac", hello.read_bytes())})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
        assert served.scheduler.waiting == 0


def test_a_stream_that_takes_too_long_is_given_up_behind_its_first_words_too():
    """Each event is waited for in a task of its own; the time counts over all of them."""

    class Unfinished:
        background, seconds = False, 0.0

        async def answers(self):
            yield (Spoken(Segment(0.0, 1.0, "hello there", "hello there", 0.9, 2), (), (), 1),)
            await asyncio.Event().wait()

    async def told():
        service = Mock(settings=Settings(timeout=0.2))
        hearing = Mock(damage=[], heard=0.0)
        work = Work(service, Mock(), Unfinished(), hearing, Mock())
        want = Mock(format="json", logprobs=False)
        sent = []

        async def send(message):
            sent.append(message.get("body", b""))

        forever = asyncio.Event().wait
        async with asyncio.timeout(PATIENCE):
            await Events(_parts(work, want))({"type": "http"}, forever, send)
        return [json.loads(part.partition(b"data: ")[2]) for part in filter(None, sent)]

    first, last = asyncio.run(told())
    assert first["delta"] == "hello there"
    assert (last["type"], last["error"]["code"]) == ("error", "timeout")


def test_a_model_that_cannot_be_used_is_told(tmp_path, root):
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in (root / "src" / "ark_asr" / "data" / "ark-mini").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    graph = folder / "decoder.onnx"
    graph.write_bytes(b"\0" * graph.stat().st_size)
    with serving(models=(str(folder),), wait=False) as served:
        assert eventually(lambda: http.get(f"{served.url}/ready").json()["status"] == "failed")
        assert "error" in http.get(f"{served.url}/ready").json()
        assert http.get(f"{served.url}/health").status_code == 200
        answer = http.post(f"{served.url}/asr", files={"file": ("a", b"x")})
        assert answer.status_code == 503

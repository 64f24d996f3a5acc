"""What hostile, broken and greedy requests get: a 4xx each, and nothing left behind."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import re
import socket
import sys
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from starlette.requests import Request

import ark_asr
from ark_asr.audio import load_audio
from ark_asr.errors import OptionError
from ark_asr.server import lingering
from ark_asr.server.guards import Record
from ark_asr.server.keys import Keys, add_key
from ark_asr.server.metrics import Metrics
from ark_asr.server.problems import Problem
from ark_asr.server.scheduler import Scheduler
from ark_asr.server.settings import Settings
from ark_asr.server.upload import read_form
from films import film
from serving import PATIENCE, http, serving


def send(url, data, name="a.wav", **fields):
    files = {"file": (name, data)}
    return http.post(f"{url}/v1/audio/transcriptions", files=files, data=fields)


def silence(seconds, container="flac", rate=16_000):
    """A small file of much sound."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream("flac", rate=rate, layout="mono")
        for _ in range(int(seconds // 60)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, rate * 60), np.int16), "s16", "mono")
            frame.sample_rate = rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A server with small limits, and keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    key = add_key(keys, "ann")
    with serving(max_upload=2 << 20, max_duration=60.0, max_queue=2, keys=keys) as it:
        it.key = key
        yield it


def keyed(narrow):
    return {"Authorization": f"Bearer {narrow.key}"}


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "a.wav", "invalid_audio"),
        (b"hello, this is text", "a.wav", "invalid_audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a.wav", "invalid_audio"),
        (b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", "a.m3u8", "invalid_audio"),
        (b"ffconcat version 1.0\nfile 'samples/hello.flac'\n", "a.wav", "invalid_audio"),
        (os.urandom(5000), "a.mp3", "invalid_audio"),
    ],
)
def test_what_is_no_recording(served, data, name, code):
    answer = send(served.url, data, name)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["param"] == "file"


def test_another_name_does_not_matter_but_the_content(served, hello):
    assert send(served.url, hello.read_bytes(), "a.mp3").status_code == 200


def test_a_truncated_file_is_refused_unless_its_part_will_do(served, hello):
    half = hello.read_bytes()[:40_000]
    answer = send(served.url, half)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "damaged_audio")
    answer = send(served.url, half, allow_damage="true")
    assert answer.status_code == 200
    assert answer.json()["warnings"]
    assert answer.json()["text"]


def test_several_tracks_are_no_damage_but_are_told(served, hello):
    """Nobody chooses a track here: which one was taken is said, and damage is refused as ever."""
    sound = load_audio(hello).samples
    data = film(({}, {}), "mp4", sounds=[sound, sound])
    for fields in ({}, {"allow_damage": "true"}):
        answer = send(served.url, data, "film.mp4", response_format="verbose_json", **fields)
        assert answer.status_code == 200
        [line] = answer.json()["warnings"]
        assert line.startswith("film.mp4: has 2 audio tracks and none was asked for; track 1 was")
    half = len(data) // 2
    answer = send(served.url, data[:half] + bytes(9_000) + data[half + 9_000 :], "film.mp4")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "damaged_audio")
    assert "film.mp4: damaged at second" in answer.json()["error"]["message"]


def test_much_sound_in_a_small_file_is_refused_while_it_is_decoded(narrow):
    bomb = silence(180)
    assert len(bomb) < 180 * 16_000 * 2 / 100
    answer = http.post(
        f"{narrow.url}/v1/audio/transcriptions", files={"file": ("a.flac", bomb)},
        headers=keyed(narrow),
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_refused_while_it_is_read(narrow, chunked):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body += b"\0" * (3 << 20)
    headers = {"Content-Type": "multipart/form-data; boundary=x", **keyed(narrow)}
    pieces = (body[i : i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    try:
        answer = http.post(f"{narrow.url}/asr", content=pieces, headers=headers)
    except httpx.WriteError:  # it hung up in the middle, which is as good
        return
    assert answer.status_code == 413


def test_who_is_refused_may_finish_writing(narrow, monkeypatch):
    """Closed at once, the connection is reset: a proxy, which still writes, never sees why."""
    monkeypatch.setattr(lingering, "_PAUSE", PATIENCE)
    monkeypatch.setattr(lingering, "_LONGEST", PATIENCE)
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=PATIENCE) as connection:
        connection.sendall(
            f"POST /asr HTTP/1.1\r\nHost: 127.0.0.1:{narrow.port}\r\n"
            f"Authorization: Bearer {narrow.key}\r\nConnection: close\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {8 << 20}\r\n\r\n".encode()
        )
        told = b""
        while b"upload_too_large" not in told:  # at once, not when all has been written
            more = connection.recv(4096)
            assert more
            told += more
        for _ in range(8):
            connection.sendall(bytes(1 << 20))
        while more := connection.recv(4096):
            told += more
    assert told.startswith(b"HTTP/1.1 413")
    assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == "upload_too_large"


def test_a_stalled_upload_is_given_up():
    with (
        serving(stall=0.5) as hasty,
        socket.create_connection(("127.0.0.1", hasty.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(
            f"POST /asr HTTP/1.1\r\nHost: 127.0.0.1:{hasty.port}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            "Content-Length: 1000\r\n\r\n--x\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\\ud800"\r\n\r\nabc\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("multipart/form-data; boundary=x; charset=undefined", PART + b"--x--", "UTF-8"),
        ("multipart/form-data; boundary=x; charset=unicode_escape", PART + b"--x--", "UTF-8"),
        (
            "multipart/form-data; boundary=x; charset=unicode_escape",
            PART.replace(b'"file"', b'"\\ud800"') + b"--x--",
            "UTF-8",
        ),
        ("multipart/form-data; boundary=x", PART, "last boundary"),
        ("multipart/form-data; boundary=x", PART + PART[:20], "last boundary"),
        ("multipart/form-data; boundary=x", b"--y\r\n", "Invalid multipart"),
        ("Multipart/Form-Data; boundary=x", PART + b"--x--", "can be decoded"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/jobs", "/asr"])
def test_odd_forms(served, kind, body, told, path):
    answer = http.post(f"{served.url}{path}", content=body, headers={"Content-Type": kind})
    if path == "/jobs" and told == "can be decoded":
        job = http.get(served.url + answer.headers["location"]).json()
        assert http.delete(f"{served.url}/jobs/{job['id']}").status_code == 200
        return
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_an_upload_that_creeps_is_given_up():
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    chunks = itertools.chain([head], itertools.repeat(b"a"))

    async def receive():
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    kind = (b"content-type", b"multipart/form-data; boundary=x")
    request = Request({"type": "http", "method": "POST", "headers": [kind]}, receive)
    with pytest.raises(Problem) as refused:
        asyncio.run(read_form(request, 1 << 20, 5.0, longest=0.3))
    assert refused.value.status == 408
    assert "took longer than 0.3 s" in refused.value.message


def test_who_cannot_be_waited_for_when_the_server_ends_is_told_so():
    sent = []

    async def app(*_):
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    async def scenario():
        record = Record(app, Metrics(Scheduler(1, 1, 1)))
        request = asyncio.create_task(record({"type": "http", "headers": []}, None, send))
        await asyncio.sleep(0)
        request.cancel()  # as uvicorn does after --grace
        await request

    asyncio.run(scenario())
    start, body = sent
    assert start["status"] == 503
    assert json.loads(body["body"])["error"]["code"] == "shutting_down"


def test_keys(narrow):
    url = f"{narrow.url}/v1/models"
    assert http.get(url).status_code == 401
    assert http.get(url, headers={"Authorization": "Bearer ark-wrong"}).status_code == 401
    assert http.get(url, headers=keyed(narrow)).status_code == 200
    for path in ("/health", "/ready", "/", "/ui", "/docs", "/openapi.json"):
        assert http.get(narrow.url + path).status_code == 200
    assert http.get(f"{narrow.url}/metrics").status_code == 401


def test_only_the_hash_of_a_key_is_kept(tmp_path):
    path = tmp_path / "keys"
    key = add_key(path, "ann")
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    assert Keys.load(path).name_of(key) == "ann"
    assert Keys.load(path).name_of(key + "x") is None
    with pytest.raises(OptionError, match="already"):
        add_key(path, "ann")
    path.write_text("ann:secret\n")
    with pytest.raises(OptionError, match="line 1"):
        Keys.load(path)


def test_a_key_is_added_to_whatever_an_editor_left_of_the_file(tmp_path):
    """No end of its last line, or nothing, because the one key in it was to be replaced."""
    path = tmp_path / "keys"
    first = add_key(path, "ann")
    path.write_text(path.read_text().rstrip("\n"))
    second = add_key(path, "bob")
    keys = Keys.load(path)
    assert [keys.name_of(key) for key in (first, second)] == ["ann", "bob"]
    path.write_text("# of this house\n")
    with pytest.raises(OptionError, match="holds no key"):
        Keys.load(path)
    third = add_key(path, "ann")
    assert Keys.load(path).name_of(third) == "ann"


def test_other_machines_need_a_key_or_a_word():
    with pytest.raises(OptionError, match="--keys"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", open_to_all=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8000:"},
    ],
)
def test_other_pages_cannot_reach_a_local_server(served, headers):
    answer = http.get(f"{served.url}/v1/models", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]", "[::1]:8000"])
def test_by_its_own_names_it_can_be_reached(served, host):
    assert http.get(f"{served.url}/health", headers={"Host": host}).status_code == 200


def test_pages_that_are_named_can_with_whatever_their_client_sends():
    page = "https://school.example"
    with serving(origins=(page,)) as served:
        url = f"{served.url}/v1/audio/transcriptions"
        # What a browser asks before OpenAI's client for JavaScript may send its request.
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-lang,x-stainless-os",
        }
        before = http.request("OPTIONS", url, headers=asked)
        assert before.status_code == 204
        allowed = before.headers["access-control-allow-headers"]
        assert allowed == asked["Access-Control-Request-Headers"]
        answer = http.get(f"{served.url}/v1/models", headers={"Origin": page})
        assert answer.headers["access-control-allow-origin"] == page
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        other = http.request("OPTIONS", url, headers=asked | {"Origin": "https://evil.example"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


def test_its_own_page_can(served):
    assert http.get(f"{served.url}/health", headers={"Origin": served.url}).status_code == 200


def test_security_headers(served):
    headers = http.get(served.url).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert http.get(f"{served.url}/v1/models").headers["cache-control"] == "no-store"


def test_the_page_comes_with_all_its_files_and_nothing_from_elsewhere(served):
    index = http.get(served.url)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    linked = re.findall(r'(?:src|href)="([^"#]+)"', index.text)
    assert any(name.endswith(".js") for name in linked)
    for name in linked:
        answer = http.get(f"{served.url}/{name}")
        assert answer.status_code == 200, name
        assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["/page/%2e%2e/app.py", "/page/__init__.py", "/page/a%00.js", f"/page/{'a' * 300}.js",
     # There is such a file, of a kind that is served.
     "/page/%2e%2e/%2e%2e/evaluation/report.css",
     f"/page/{Path(ark_asr.__file__).parent}/evaluation/report.css"],
)  # fmt: skip
def test_the_page_has_no_way_out(served, path):
    assert http.get(served.url + path).status_code == 404

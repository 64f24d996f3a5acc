"""The adapter for OpenAI's interface, against our own server and against none."""

from __future__ import annotations

import http.server
import threading

import pytest

import ark_asr
from ark_asr.errors import ModelError, OptionError
from ark_asr.evaluation.compare.base import FAMILIES, RATE
from ark_asr.evaluation.compare.server import KEY_VARIABLE
from ark_asr.types import Audio
from serving import serving


def connect(address):
    return FAMILIES["server"].load(address, 1, "")


def test_our_own_server(clip):
    with ark_asr.load(threads=1) as model:
        expected = model.transcribe(Audio(clip, RATE)).text
    with serving() as served:
        for address in (
            f"{served.url}/v1#ark-mini",
            f"{served.url}/v1/audio/transcriptions#ark-mini",
        ):
            assert connect(address).hear(clip, "en") == expected
        with pytest.raises(ModelError, match="answered 404"):
            connect(f"{served.url}/v1#other").hear(clip, "")


class Recorder(http.server.BaseHTTPRequestHandler):
    answer, seen = b'{"text": " yes "}', {}

    def do_POST(self):
        self.seen |= {"path": self.path, "key": self.headers["Authorization"],
                      "body": self.rfile.read(int(self.headers["Content-Length"]))}  # fmt: skip
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    class Own(Recorder):
        seen = {}  # noqa: RUF012 - one per test

    server = http.server.HTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", Own
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_language_is_told_and_the_key_only_from_its_own_variable(recorder, clip, monkeypatch):
    url, seen = recorder
    monkeypatch.setenv("OPENAI_API_KEY", "for somebody else")
    assert connect(url).hear(clip, "de") == "yes"
    assert seen.seen["path"] == "/v1/audio/transcriptions"
    assert seen.seen["key"] is None
    assert b'name="language"\r\n\r\nde\r\n' in seen.seen["body"]
    assert b'name="model"\r\n\r\nwhisper-1\r\n' in seen.seen["body"]
    monkeypatch.setenv(KEY_VARIABLE, "mine")
    connect(url).hear(clip, "")
    assert seen.seen["key"] == "Bearer mine"
    assert b'name="language"' not in seen.seen["body"]


def test_half_a_character_ends_nothing(recorder, clip):
    url, own = recorder
    own.answer = b'{"text": "yes \\ud83d"}'
    assert connect(url).hear(clip, "") == "yes ?"


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"error": 1}'])
def test_an_answer_that_is_none(recorder, clip, answer):
    url, own = recorder
    own.answer = answer
    with pytest.raises(ModelError, match="did not answer with JSON"):
        connect(url).hear(clip, "")


def test_neither_sound_nor_key_follow_to_another_server(recorder, clip, monkeypatch):
    url, seen = recorder
    monkeypatch.setenv(KEY_VARIABLE, "mine")

    class Elsewhere(Recorder):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", f"{url}/audio/transcriptions")
            self.end_headers()

    def asked(self):
        self.seen["key"] = self.headers["Authorization"]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    seen.do_GET = asked
    server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(ModelError, match=r"leads to .*transcriptions, which is not followed"):
            connect(f"http://127.0.0.1:{server.server_port}/v1").hear(clip, "")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not seen.seen


def test_an_answer_that_breaks_off(recorder, clip):
    url, own = recorder

    def broken(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b'{"te')

    own.do_POST = broken
    with pytest.raises(ModelError, match=r"cannot be reached .IncompleteRead"):
        connect(url).hear(clip, "")


def test_nobody_is_there(clip):
    with pytest.raises(ModelError, match="cannot be reached"):
        connect("http://127.0.0.1:9/v1").hear(clip, "")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://", "host:8000"])
def test_an_address_that_is_none(address):
    with pytest.raises(OptionError, match="is no address like"):
        connect(address)

"""The sidecar, asked as Linnet asks: at once, in windows, with what it sends and what it reads."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

import cf_facts
from ark_asr.audio import load_audio
from ark_asr.errors import ModelNotFoundError
from ark_asr.integrations import sessions
from ark_asr.integrations.linnet import __main__
from ark_asr.integrations.linnet import app as sidecar
from ark_asr.pipeline import Recognizer
from ark_asr.server.settings import Settings

RATE = 16_000
PATIENCE = sidecar.PATIENCE


@pytest.fixture(scope="module")
def talk(root):
    sound = load_audio(root / "samples" / "minute.flac", end=5.0).samples
    return np.concatenate([sound, np.zeros(RATE, np.float32)])


def made(**options):
    return TestClient(sidecar.create_app(Settings(), threads=1, **options), "http://localhost:8007")


def ready(client):
    while client.get("/health").json()["models"]["stt"] == "loading":
        pass
    return client


@pytest.fixture(scope="module")
def client():
    with made() as client:
        yield ready(client)


@pytest.fixture(autouse=True)
def _load_decides_nothing(monkeypatch):
    """However busy the machine of the test is: answers are waited for, and looks taken."""
    monkeypatch.setattr(sidecar, "PATIENCE", 600.0)
    monkeypatch.setattr(sessions, "OPTIONS", replace(sessions.OPTIONS, max_lag=1e6))


def listen(client, sound, seconds, session, **request):
    """The events of a session."""
    events = []
    for number, window in enumerate(cf_facts.windows(sound, seconds), 1):
        body = cf_facts.classify_request(window, number * seconds, session) | request
        answer = client.post("/classify", json=body)
        assert answer.status_code == 200, answer.text
        events += answer.json()["events"]
    client.portal.call(client.app.state.sidecar.sessions.forget, session)
    return events


def finals(events):
    return " ".join(event["label"] for event in events if event["is_final"])


def test_the_constants_are_those_of_linnet():
    assert cf_facts.CLIENT_TIMEOUT == sidecar.CLIENT_TIMEOUT
    assert PATIENCE <= sidecar.CLIENT_TIMEOUT / 2
    assert sidecar.SPEAKER == cf_facts.HIDDEN_SPEAKER
    assert sessions.IDLE_SECONDS == cf_facts.SESSION_IDLE
    assert __main__.PORT == cf_facts.VOICE_PORT
    longest = cf_facts.classify_request(bytes(2 * RATE * round(max(cf_facts.WINDOWS))), 0.0, "s")
    assert len(json.dumps(longest)) < sidecar.MOST_BYTES / 4


def test_health_answers_while_the_model_is_loaded(monkeypatch, talk):
    going = threading.Event()
    load = Recognizer.load

    def slow(*arguments, **options):
        going.wait()
        return load(*arguments, **options)

    monkeypatch.setattr(sidecar.Recognizer, "load", slow)
    with made() as client:
        try:
            answer = client.get("/health")
            assert answer.status_code == 200
            assert answer.json()["models"] == {"stt": "loading"}
            window = cf_facts.classify_request(cf_facts.pcm(talk[:RATE]), 1.0, "early")
            assert client.post("/classify", json=window).json() == {"events": []}
        finally:
            going.set()
        assert ready(client).get("/health").json()["models"] == {"stt": "ready"}
        assert all(isinstance(text, str) for text in answer.json()["warnings"])


def test_a_model_that_cannot_be_loaded_is_said(monkeypatch, tmp_path, root, caplog):
    folder = shutil.copytree(root / "src" / "ark_asr" / "data" / "ark-mini", tmp_path / "broken")
    size = (folder / "tokenizer.json").stat().st_size
    (folder / "tokenizer.json").write_text("{" + " " * (size - 1))
    with made(model=str(folder)) as client, caplog.at_level(logging.ERROR):
        assert ready(client).get("/health").json()["models"] == {"stt": "error"}
        answer = client.post("/classify", json=cf_facts.classify_request(b"", 0.0, "s"))
        assert answer.status_code == 503
    assert {"loading", "ready", "error"} == cf_facts.MODEL_STATES


def test_a_model_that_is_not_there_is_refused_before_it_serves():
    with pytest.raises(ModelNotFoundError):
        made(model="small")


@pytest.mark.parametrize("seconds", cf_facts.WINDOWS)
def test_a_session_in_windows(client, talk, seconds):
    events = listen(client, talk, seconds, f"session of {seconds}")
    assert len(finals(events).split()) > 6
    assert not all(event["is_final"] for event in events)
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert times[-1] <= len(talk) / RATE + seconds


def test_events_are_what_linnet_reads(client, talk):
    events = listen(client, talk[: 3 * RATE], 1.0, "events")
    for event in events:
        assert event["event_type"] == "transcript"
        assert event["label"] == event["label"].strip() != ""
        assert isinstance(event["timestamp"], float)
        assert 0 <= event["confidence"] <= 1
        assert event["language"] == "en"
    shown = cf_facts.broadcast(events, "events")
    assert [one["text"] for one in shown] == [event["label"] for event in events]
    assert {one["speaker_id"] for one in shown} == {cf_facts.HIDDEN_SPEAKER}


@pytest.mark.parametrize("tag", ["", "en-US", "pt", "zh-Hant", "no language", None])
def test_any_language_is_taken(client, tag):
    body = cf_facts.classify_request(bytes(2 * RATE), 1.0, "language", tag)
    assert client.post("/classify", json=body).json() == {"events": []}


def test_a_language_changes_no_word_but_is_not_claimed(client, talk):
    events = listen(client, talk, 2.0, "pt", language="pt-BR")
    assert finals(events) == finals(listen(client, talk, 2.0, "none"))
    assert {event["language"] for event in events} == {None}


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"audio_chunk": "not base64!"}, 422, "audio_chunk"),
        ({"audio_chunk": base64.b64encode(b"abc").decode()}, 422, "even"),
        ({"audio_chunk": None}, 422, "audio_chunk"),
        ({"audio_chunk": "AAé="}, 422, "audio_chunk"),
        ({"timestamp": "now"}, 422, "timestamp"),
        ({"session_id": "x" * 201}, 422, "session_id"),
        ({"audio_chunk": "A" * (1 << 20)}, 413, "shorter"),
    ],
)
def test_windows_that_make_no_sense(client, change, status, detail):
    body = cf_facts.classify_request(b"", 0.0, "bad") | change
    answer = client.post("/classify", json=body)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_a_body_that_is_no_json(client):
    answer = client.post("/classify", content=b"{secret words")
    assert answer.status_code == 422
    assert "secret" not in answer.text


def test_pages_of_others_stay_out(client):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example:8007"}):
        answer = client.post("/classify", json={}, headers=headers)
        assert answer.status_code == 403


def test_a_slow_model_answers_in_time_and_later_with_everything(monkeypatch, client, talk):
    """With no patience at all, windows are answered without events, which come later."""
    monkeypatch.setattr(sidecar, "PATIENCE", 0.0)
    events = []
    for window in cf_facts.windows(talk, 1.0):
        body = cf_facts.classify_request(window, 1.0, "slow")
        events += client.post("/classify", json=body).json()["events"]
    monkeypatch.setattr(sidecar, "PATIENCE", 600.0)
    body = cf_facts.classify_request(bytes(2 * RATE), 1.0, "slow")
    events += client.post("/classify", json=body).json()["events"]
    assert len(finals(events).split()) > 6


def test_too_much_for_the_machine_is_a_503(monkeypatch, talk):
    class One(sidecar.Sessions):
        def __init__(self, recognizer):
            super().__init__(recognizer, most=1)

    monkeypatch.setattr(sidecar, "Sessions", One)
    with made() as client:
        ready(client).post("/classify", json=cf_facts.classify_request(bytes(8), 0.0, "one"))
        answer = client.post("/classify", json=cf_facts.classify_request(bytes(8), 0.0, "two"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_nothing_is_stored_or_logged(client, talk, tmp_path, monkeypatch, caplog, capfd):
    opened = []
    watching = threading.Event()

    def watch(event, arguments):
        if watching.is_set() and event == "open" and isinstance(arguments[2], int):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                opened.append(arguments[0])
        elif watching.is_set() and event in ("tempfile.mkstemp", "socket.connect"):
            opened.append(event)

    sys.addaudithook(watch)
    with caplog.at_level(logging.DEBUG):
        watching.set()
        try:
            events = listen(client, talk, 2.0, "secret session")
        finally:
            watching.clear()
    assert opened == []
    words = {word for one in events for word in one["label"].split() if len(word) > 4}
    records = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    logged = "".join(str(vars(record)) for record in records) + "".join(capfd.readouterr())
    assert words
    assert not [word for word in [*words, "secret session"] if word in logged]


def test_the_command_serves_and_ends(talk):
    """The process as Linnet's compose file would start it."""
    command = [sys.executable, "-m", "ark_asr.integrations.linnet", "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        url = next(line.split()[-1] for line in process.stderr if "serving at" in line)
        with httpx.Client(base_url=url, timeout=120) as client:
            assert ready(client).get("/health").json()["models"] == {"stt": "ready"}
            windows = cf_facts.windows(talk[: 4 * RATE], 1.0)
            bodies = [cf_facts.classify_request(window, 1.0, "s") for window in windows]
            silence = cf_facts.classify_request(bytes(8), 1.0, "s")
            # On a busy machine they come with the answer to a later window.
            for body in [*bodies, *[silence] * 50]:
                if client.post("/classify", json=body).raise_for_status().json()["events"]:
                    break
            else:
                raise AssertionError("no window has an event")
        process.terminate()
        assert process.wait(120) in (0, -15)
    finally:
        process.kill()
        process.communicate()


def test_the_command_says_what_is_wrong_in_one_line(capsys):
    assert __main__.main(["--model", "small"]) == 2
    assert __main__.main(["--host", "0.0.0.0"]) == 2
    assert __main__.main(["--threads", "0"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "ark-mini" in said[0]
    assert "--open-to-all" in said[1]
    assert "threads is 0" in said[2]

"""Nothing of a recording or its transcript is written, logged or sent."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading

from serving import eventually, http

SEEN: list[tuple[str, object]] = []
WATCHING = threading.Event()


def watch(event, arguments):
    if not WATCHING.is_set():
        return
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            SEEN.append((event, arguments[0]))
    elif event in ("socket.connect", "socket.getaddrinfo", "tempfile.mkstemp", "shelve.open"):
        SEEN.append((event, arguments))


sys.addaudithook(watch)


def test_no_file_no_log_no_connection(served, talk, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    upload = talk.read_bytes()
    upload += b"\0" * (3 << 20)  # more than would be kept in memory by an UploadFile
    with caplog.at_level(logging.DEBUG):
        WATCHING.set()
        try:
            answer = http.post(
                f"{served.url}/v1/audio/transcriptions",
                files={"file": ("secret name.wav", upload)}, data={"allow_damage": "true"},
            )  # fmt: skip
            assert eventually(served.at_rest)  # its line is in the log, which comes last
        finally:
            WATCHING.clear()
    text = answer.json()["text"]
    assert len(text.split()) > 5
    written = [name for event, name in SEEN if event == "open" and name not in ("/dev/null",)]
    assert [name for name in written if not isinstance(name, int)] == []
    ours = {("127.0.0.1", served.port)}
    others = [
        arguments for event, arguments in SEEN
        if event == "socket.connect" and arguments[0].family != socket.AF_UNIX
        and arguments[1] not in ours
    ]  # fmt: skip
    assert others == []
    assert [event for event, _ in SEEN if event.startswith("tempfile")] == []
    assert list(tmp_path.iterdir()) == []
    records = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    logged = "\n".join(str(vars(record)) for record in records) + "".join(capfd.readouterr())
    assert '"request"' in logged or "'request'" in logged
    for secret in (text, *[word for word in text.split() if len(word) > 4], "secret name"):
        assert secret not in logged


def test_a_long_job_in_memory_touches_no_disk_and_no_log(served, talk, tmp_path, monkeypatch,
                                                          caplog, capfd):  # fmt: skip
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    SEEN.clear()
    with caplog.at_level(logging.DEBUG):
        WATCHING.set()
        try:
            files = {"file": ("secret name.wav", talk.read_bytes())}
            job = http.post(f"{served.url}/jobs", files=files).json()["id"]
            assert "event: done" in http.get(f"{served.url}/jobs/{job}/events").text
            text = http.get(f"{served.url}/jobs/{job}/result?format=txt").text
            assert eventually(served.at_rest)
        finally:
            WATCHING.clear()
    written = [name for event, name in SEEN if event == "open" and name not in ("/dev/null",)]
    assert [name for name in written if not isinstance(name, int)] == []
    assert list(tmp_path.iterdir()) == []
    records = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    logged = "\n".join(str(vars(record)) for record in records) + "".join(capfd.readouterr())
    for secret in ("secret name", *[word for word in text.split() if len(word) > 4]):
        assert secret not in logged


def test_an_error_of_a_file_is_not_logged_either(served, caplog):
    with caplog.at_level(logging.DEBUG):
        http.post(f"{served.url}/asr", files={"file": ("secret name.wav", b"nonsense")})
        assert eventually(served.at_rest)
    records = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert "secret" not in "\n".join(str(vars(record)) for record in records)


def test_what_parses_forms_logs_nothing_of_them():
    code = (
        "import logging; from ark_asr.server.running import _log_lines; _log_lines(); "
        "logging.getLogger('python_multipart.multipart').warning('a byte of the form'); "
        "logging.getLogger('asyncio').error('something else')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = told.stderr.splitlines()
    assert json.loads(line)["event"] == "something else"

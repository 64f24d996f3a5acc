"""The verb `serve`: in the foreground, beside the terminal, and its keys."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from typer.testing import CliRunner

from ark_asr.cli import app
from ark_asr.errors import OptionError
from ark_asr.server import beside, deployed
from ports import free_port
from programs import started
from serving import PATIENCE, http

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pid files need POSIX")


def run(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def program(*arguments):
    """In a process of its own, as a server that is left behind needs it."""
    command = [sys.executable, "-m", "ark_asr", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def port():
    return free_port()


def test_start_status_stop(tmp_path, port):
    where = ["--port", port, "--run-dir", tmp_path]
    assert run("status", *where).stdout == f"not running port={port}\n"
    try:
        begun = program("start", *where, "--threads", 1, "--alias", "whisper-1")
        assert begun.returncode == 0, begun.stderr
        pid = re.search(r"started pid=(\d+)", begun.stdout)[1]
        assert http.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
        assert run("status", *where).stdout == f"running pid={pid} port={port}\n"
        assert f"already running pid={pid}" in program("start", *where).stdout
        # Another one cannot have the port; its last line says why.
        other = program("start", "--port", port, "--run-dir", tmp_path / "other")
        assert other.returncode == 2
        assert "cannot be used" in other.stderr
        # A restart is another process that was told the same, unless it is told something else.
        restarted = program("restart", *where)
        pid, before = re.search(r"started pid=(\d+)", restarted.stdout)[1], pid
        assert pid != before
        assert http.get(f"http://127.0.0.1:{port}/v1/models/whisper-1").status_code == 200
    finally:
        stopped = run("stop", *where, "--grace", 20)
    assert stopped.stdout == f"stopped pid={pid} port={port}\n"
    assert run("status", *where).exit_code == 3
    with pytest.raises(httpx.ConnectError):
        http.get(f"http://127.0.0.1:{port}/health")


def test_a_pid_that_is_left_over_is_not_ours(tmp_path, port):
    (tmp_path / f"serve-{port}.pid").write_text(str(os.getpid()))
    assert run("status", "--port", port, "--run-dir", tmp_path).exit_code == 3
    assert "not running" in run("stop", "--port", port, "--run-dir", tmp_path).stdout


def test_who_looks_for_a_server_does_not_keep_it_from_its_start(tmp_path):
    import fcntl

    file = tmp_path / "a.pid"
    with file.open("a+") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        over = threading.Timer(0.1, fcntl.flock, (look, fcntl.LOCK_UN))
        over.start()
        with beside.locked(file) as announce:
            announce()
            with pytest.raises(OptionError, match="running"), beside.locked(file):
                pass
            assert beside.running(beside.Place(tmp_path, 1, file)) == os.getpid()
        over.join()


DEPLOYED = {
    "MODEL": "checkpoints/ark-mini", "HOST": "127.0.0.1", "GPU": "1", "MAX_NUM_SEQS": "4",
    "GPU_MEMORY_UTILIZATION": "0.6", "MAX_MODEL_LEN": "4096", "MAX_NEW_TOKENS": "200",
}  # fmt: skip


def test_variables_of_the_published_deploy_script():
    told = deployed.arguments(["--engine", "vllm", "--host=::1"], DEPLOYED)
    assert told == [
        "--engine", "vllm", "--host=::1", "--model", "checkpoints/ark-mini", "--batch-size", "4",
        "--max-new-tokens", "200",
    ]  # fmt: skip
    environment = deployed.environment({**DEPLOYED, "VLLM_MAX_MODEL_LEN": "1024"})
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["VLLM_GPU_MEMORY_UTILIZATION"] == "0.6"
    assert environment["VLLM_MAX_NUM_SEQS"] == "4"
    assert environment["VLLM_MAX_MODEL_LEN"] == "1024"


def test_variables_say_where_the_files_are(tmp_path, port, monkeypatch):
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setenv("RUN_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_FILE", "logs/ark.log")
    vllm = ("--engine", "vllm")
    assert run("status", *vllm).stdout == f"not running port={port}\n"
    # Nothing of it is read for another engine: PORT may be anybody's.
    assert run("status", "--run-dir", tmp_path).stdout == "not running port=8000\n"
    failed = run("start", *vllm, "--model", "nothing")
    assert failed.exit_code == 2
    assert "no model 'nothing'" in failed.stderr
    assert "no model 'nothing'" in (tmp_path / "logs" / "ark.log").read_text()
    monkeypatch.setenv("MAX_NUM_SEQS", "many")
    assert "MAX_NUM_SEQS is 'many'" in run("status", *vllm).stderr


@pytest.fixture
def heeded():
    """Ctrl-C reaches programs started from here, also where this one was told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_foreground_cleanly(port, heeded):
    command = [sys.executable, "-m", "ark_asr", "serve", "--port", str(port), "--threads", "1"]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == f"ark-asr: serving at http://127.0.0.1:{port}\n"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert "Traceback" not in rest
    assert process.returncode in (0, 130)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_when_clients_can_connect(port, abstract, tmp_path, heeded):
    where = f"\0{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(where)
        manager.settimeout(PATIENCE)
        command = [sys.executable, "-m", "ark_asr", "serve", "--port", str(port), "--threads", "1"]
        environment = os.environ | {"NOTIFY_SOCKET": where.replace("\0", "@")}
        with started(command, stderr=subprocess.DEVNULL, env=environment) as process:
            assert manager.recv(100) == b"READY=1"
            assert http.get(f"http://127.0.0.1:{port}/health").status_code == 200
            process.send_signal(signal.SIGTERM)


def test_a_service_manager_that_is_gone_stops_no_server(port, tmp_path, heeded):
    command = [sys.executable, "-m", "ark_asr", "serve", "--port", str(port), "--threads", "1"]
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    with started(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert "serving at" in process.stderr.readline()
        assert json.loads(process.stderr.readline())["event"] == "not_notified"
        assert http.get(f"http://127.0.0.1:{port}/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        process.stderr.read()


SERVE_AND_STOP = """
import os, signal, sys
from ark_asr.server import running
from ark_asr.server.settings import Settings
running.serve(Settings(port=int(sys.argv[1]), threads=1),
              ready=lambda _: os.kill(os.getpid(), signal.SIGINT))
"""


def test_ctrl_c_in_the_moment_of_the_start_ends_it_too(port, heeded):
    command = [sys.executable, "-c", SERVE_AND_STOP, str(port)]
    ended = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ended.returncode == -signal.SIGINT  # what Python makes of it where nothing catches it
    assert '"event": "stopping"' in ended.stderr
    assert ended.stderr.count("Traceback") == 1
    assert ended.stderr.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--host", "0.0.0.0"], "--keys"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--origin", "example.org"], "https://host"),
        (["--max-queue", 0], "max_queue is 0"),
        (["--threads", 0], "threads is 0; it must be 1"),
        (["--engine", "nonsense"], "engine 'nonsense' is not known"),
        (["--engine", "torch"], "runs on engine 'onnx', not 'torch'"),
        (["--engine", "torch:cpu"], "PyTorch runs checkpoints"),
        (["--port", 9, "status"], "--port stands before status"),
        (["key", "a b", "--keys", "k"], "only letters"),
    ],
)
def test_bad_settings_are_one_line(arguments, line):
    result = run(*arguments)
    assert result.exit_code == 2
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_key_is_printed_once(tmp_path):
    key = run("key", "ann", "--keys", tmp_path / "keys").stdout.strip()
    assert key.startswith("ark-")
    assert len(key) > 40
    assert key not in (tmp_path / "keys").read_text()

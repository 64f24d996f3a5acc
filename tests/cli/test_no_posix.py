"""The verbs without what only POSIX systems have, and with a code page of Windows.

Not Windows itself: files, paths and processes are still those of this system.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# Python runs this in every process of the test, those of a batch too.
_WITHOUT = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "mkfifo", "register_at_fork",
             "sched_getaffinity", "sched_setaffinity", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGUSR1", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
"""
_SAID = "there was a light in the window of the house"


@pytest.fixture
def run(root, tmp_path):
    """Run the program in a folder of its own that holds a recording."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(_WITHOUT)
    (tmp_path / "hello.flac").write_bytes((root / "samples" / "hello.flac").read_bytes())
    path = os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "ARK_ASR_HOME": str(tmp_path / "home")
    }  # fmt: skip

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "ark_asr", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_transcribing(run, tmp_path):
    assert run("transcribe", "hello.flac").stdout == f"{_SAID}\n"
    run("transcribe", "hello.flac", "--words", "--format", "srt,json", "-o", "out/")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["hello.json", "hello.srt"]
    assert _SAID in run("live", "hello.flac", "--fast").stdout


def test_models(run):
    assert run("models", "list").stdout.startswith("ark-mini ")
    run("models", "verify", "ark-mini")
    run("models", "export", "ark-mini", "a.tar")
    run("models", "import", "a.tar")
    run("models", "import", "a.tar", "--overwrite")
    run("models", "remove", "ark-mini")
    assert _SAID in run("doctor").stdout


def test_a_batch_in_processes(run, tmp_path):
    rows = [{"audio": "hello.flac"}, {"audio": "\u010capek.wav"}]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    run("batch", "--input", "in.jsonl", "--output", "o.jsonl", "--workers", "2", code=1)
    first, second = map(json.loads, (tmp_path / "o.jsonl").read_text("utf-8").splitlines())
    assert first["pred_text"] == _SAID
    assert second["error"] == "\u010capek.wav: no such file"


def test_what_needs_posix_says_so(run):
    for verb in (("status",), ("start",), ("stop",), ("--port", "0", "--pid-file", "a.pid")):
        said = run("serve", *verb, code=2).stderr
        assert "need a POSIX system; use plain `ark-asr serve`" in said
        assert said.count("\n") == 1
    said = run("batch", "-i", "none", "-o", "o", "--workers", "2", "--worker-memory", "1", code=2)
    assert said.stderr.count("\n") == 1

"""One vLLM server for all tests of this room, on a folder that holds traps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ark_asr.audio import load_audio
from ark_asr.engines.base import Ask
from ark_asr.types import Audio
from ports import free_port

_WAIT = 400  # seconds; a busy machine of two cores needs about a hundred
_TEST = 1800  # seconds of one test, of which the first one waits for the server as well


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(_TEST))


@dataclass(frozen=True)
class Running:
    """A server.

    Attributes:
        url: Where it is.
        folder: What it serves.
    """

    url: str
    folder: Path


@pytest.fixture(scope="session")
def checkpoint(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="session")
def published(checkpoint, tmp_path_factory):
    """The checkpoint as it would be published: with code, and with the wrong chat template."""
    folder = tmp_path_factory.mktemp("published") / "ark-mini"
    shutil.copytree(checkpoint, folder)
    trap = f"open({str(folder / 'code-was-run')!r}, 'w').close()\n"
    for name in ("configuration_arkasr", "modeling_arkasr", "processing_arkasr"):
        (folder / f"{name}.py").write_text(trap)
    for name, auto_map in (
        ("config.json", {"AutoConfig": "configuration_arkasr.ArkasrConfig"}),
        ("preprocessor_config.json", {"AutoProcessor": "processing_arkasr.ArkasrProcessor"}),
    ):
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**data, "auto_map": auto_map}))
    (folder / "chat_template.jinja").write_text("never this\n{{ messages[0].content }}")
    return folder


@pytest.fixture(scope="session")
def server(published, tmp_path_factory):
    """Plain ``vllm serve FOLDER``, in float32 so that words can be compared exactly."""
    port = free_port()
    program = Path(sys.executable).with_name("vllm")
    log = tmp_path_factory.mktemp("vllm") / "log"
    options = ("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
               "--max-num-seqs", "16", "--served-model-name", "ark-mini")  # fmt: skip
    # One thread: two of them wait for each other on a machine that has other work.
    alone = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, "serve", published, *options], env=os.environ | alone, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_there(process, port, log)
        yield Running(f"http://127.0.0.1:{port}", published)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_there(process, port, log):
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < _WAIT:
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(1)
    raise AssertionError(f"the server did not come up:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def hello(root):
    return root / "samples" / "hello.flac"


@pytest.fixture
def alone(monkeypatch, tmp_path_factory):
    """One thread for each process; vLLM's scheduler in this one, which saves a start.

    What is compiled is these tests' own: a compiler that was killed leaves an empty library in the
    cache that all programs share.
    """
    for name, value in (
        ("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled")),
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ("OMP_NUM_THREADS", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),
    ):
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def asks(root):
    """Speech of several lengths."""
    minute = load_audio(root / "samples" / "minute.flac").samples
    rate = 16_000
    spans = ((0.0, 2.1), (0.0, 9.7), (10.0, 15.0))
    return [Ask(Audio(minute[round(a * rate) : round(b * rate)], rate), 60) for a, b in spans]

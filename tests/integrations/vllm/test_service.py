"""``ark-asr serve start --engine vllm``: all that our server promises, on continuous batching."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

from openai import OpenAI
from websockets.sync.client import connect

from ark_asr.audio import load_audio
from ark_asr.engines.torch import TorchEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Recognizer
from ark_asr.types import TranscribeOptions
from ports import free_port

ALONE = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def program(*arguments, **variables):
    command = [sys.executable, "-m", "ark_asr", *map(str, arguments)]
    environment = {**os.environ, **ALONE, **variables}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=400, env=environment
    )


@pytest.fixture(scope="module")
def expected(checkpoint):
    return Recognizer(TorchEngine.load(checkpoint, threads=1), Tokenizer.load(checkpoint), "mini")


@pytest.fixture(scope="module")
def variables(checkpoint, tmp_path_factory):
    """Those of the deploy script."""
    port = free_port()
    return {
        "MODEL": str(checkpoint), "PORT": str(port), "MAX_NUM_SEQS": "4", "MAX_MODEL_LEN": "512",
        "MAX_NEW_TOKENS": "150", "RUN_DIR": str(tmp_path_factory.mktemp("run")),
        "PID_FILE": "ark.pid", "LOG_FILE": "ark.log",
    }  # fmt: skip


@pytest.fixture(scope="module")
def url(variables):
    started = program("serve", "start", "--engine", "vllm", **variables)
    assert started.returncode == 0, started.stderr
    address = f"http://127.0.0.1:{variables['PORT']}"
    try:
        for _ in range(400):
            if httpx.get(f"{address}/ready").status_code == 200:
                break
            time.sleep(1)
        yield address
    finally:
        stopped = program("serve", "stop", "--engine", "vllm", **variables)
        assert stopped.stdout.startswith("stopped pid=")


@pytest.fixture(scope="module")
def client(url):
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def test_it_runs_where_the_variables_say(url, variables):
    told = program("serve", "status", "--engine", "vllm", **variables).stdout
    (pid,) = re.fullmatch(rf"running pid=(\d+) port={variables['PORT']}\n", told).groups()
    assert Path(variables["RUN_DIR"], "ark.pid").read_text() == pid
    again = program("serve", "start", "--engine", "vllm", **variables).stdout
    assert again.startswith(f"already running pid={pid}")


def test_all_formats(client, root, expected):
    minute = root / "samples" / "minute.flac"
    transcript = expected.transcribe(minute)
    wanted = [segment.text for segment in transcript.segments]

    def said(name):
        return client.audio.transcriptions.create(
            model="ark-mini", file=minute, response_format=name
        )

    verbose = said("verbose_json")
    assert [one.text for one in verbose.segments] == wanted
    assert [one.start for one in verbose.segments] == pytest.approx(
        [one.start for one in transcript.segments]
    )
    assert said("json").text == said("text").strip() == transcript.text
    for name in ("srt", "vtt"):
        assert said(name).count("-->") >= len(wanted)


def test_many_clients_get_their_own_words(client, root, expected):
    """More than fit into vLLM at once; a long recording beside short ones."""
    names = ["hello", "minute", "numbers", "hello"] * 3
    files = {name: root / "samples" / f"{name}.flac" for name in names}
    wanted = {name: expected.transcribe(file).text for name, file in files.items()}

    def say(name):
        return client.audio.transcriptions.create(model="ark-mini", file=files[name]).text

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(say, names)) == [wanted[name] for name in names]


def test_the_first_service_s_routes(url, root, expected):
    hello = root / "samples" / "hello.flac"
    found = subprocess.run(
        ["curl", "--silent", "-F", f"file=@{hello}", f"{url}/asr"], capture_output=True, check=True
    )
    answer = json.loads(found.stdout)
    assert answer["text"] == expected.transcribe(hello).text
    assert answer["sampling"]["max_new_tokens"] == 150
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    mask = httpx.get(f"{url}/token-mask").json()
    assert mask["tokens"]["<|audio|>"]["blocked"]


def test_a_long_job(url, root, expected):
    minute = root / "samples" / "minute.flac"
    with minute.open("rb") as file:
        job = httpx.post(f"{url}/jobs", files={"file": file}, timeout=60).json()["id"]
    while httpx.get(f"{url}/jobs/{job}").json()["status"] not in ("done", "failed"):
        time.sleep(0.2)
    result = httpx.get(f"{url}/jobs/{job}/result", params={"format": "txt"}).text
    assert result.split() == expected.transcribe(minute).text.split()


def test_live_captions(url, root, expected):
    sound = load_audio(root / "samples" / "minute.flac", end=12.0)
    data = (sound.samples * 32768).astype("<i2").tobytes()
    with connect(f"{url.replace('http', 'ws')}/live") as live:
        for first in range(0, len(data), 6400):
            live.send(data[first : first + 6400])
        live.send('{"type": "end"}')
        events = [json.loads(message) for message in live]
    settled = " ".join(event["settled"] for event in events if event["kind"] == "final")
    whole = expected.transcribe(root / "samples" / "minute.flac", TranscribeOptions(end=12.0)).text
    assert len(set(settled.split()) & set(whole.split())) > 0.7 * len(set(whole.split()))


def test_batch_in_one_process_and_by_url(server, checkpoint, root, expected, tmp_path):
    files = [root / "samples" / f"{name}.flac" for name in ("hello", "minute", "numbers")]
    manifest = tmp_path / "in.jsonl"
    manifest.write_text("".join(json.dumps({"audio": str(file)}) + "\n" for file in files))
    wanted = [expected.transcribe(file).text for file in files]
    for name, engine in (("own", "vllm"), ("url", server.url)):
        output = tmp_path / f"{name}.jsonl"
        done = program(
            "batch", "--engine", engine, "--model", checkpoint, "--batch-size", 16,
            "--input", manifest, "--output", output,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert [row["pred_text"] for row in rows] == wanted

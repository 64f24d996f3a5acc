"""Requests per second and latency: vLLM with the plug-in against this package's own server.

Both are started in turn on the same model (float32 checkpoint; int8 package), and are sent the
same clips by 1, 4, 16 and 32 clients at once. What the host does before the model (log-mel and
prompt) is timed by itself and compared with the processor time that a request takes in all of the
server's processes, which other work on the machine changes least. In the environment of
`make test-vllm`::

    .venv-vllm/bin/python benchmarks/vllm_serving.py --seconds 20

Not named vllm.py: a script's own folder is searched first, and ``import vllm`` would find itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path

import httpx
import psutil

from ark_asr.audio import LogMel, load_audio
from ark_asr.models.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "checkpoints" / "ark-mini"
CLIPS = [ROOT / "samples" / name for name in ("hello.flac", "numbers.flac")]
BIN = Path(sys.executable).parent


@contextmanager
def serving(*command, health):
    """Run a server on a free port; yields its URL and its processor time so far."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
             "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # fmt: skip
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], env=os.environ | alone,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                if httpx.get(url + health, timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        yield url, lambda: processor_time(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def processor_time(pid):
    """Seconds that a process and all it has started have computed."""
    first = psutil.Process(pid)
    times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def send(http, clip):
    """Seconds that one transcription took."""
    begun = time.perf_counter()
    with clip.open("rb") as file:
        answer = http.post("/v1/audio/transcriptions", files={"file": file})
    answer.raise_for_status()
    return time.perf_counter() - begun


def connected(url):
    """A client, kept for all that is sent: `httpx.post` would read all certificates each time."""
    return httpx.Client(base_url=url, timeout=300)


def load(url, clients, seconds):
    """Requests per second, and each one's latency."""
    until = time.perf_counter() + seconds

    def client(first):
        clips, took = cycle(CLIPS[first:] + CLIPS[:first]), []
        with connected(url) as http:
            while time.perf_counter() < until:
                took.append(send(http, next(clips)))
        return took

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        found = threads.map(client, [n % len(CLIPS) for n in range(clients)])
        took = list(chain.from_iterable(found))
    return len(took) / (time.perf_counter() - begun), sorted(took)


def before_the_model(repeats=20):
    """Seconds of processor time for the log-mel and for the prompt's ids of one clip."""
    tokenizer = Tokenizer.load(CHECKPOINT)
    log_mel = LogMel(tokenizer.features)
    sounds = [load_audio(clip).samples for clip in CLIPS]
    mels, prompts = [], []
    for samples in sounds * repeats:
        begun = time.process_time()
        frames = log_mel(samples).shape[1]
        between = time.process_time()
        tokenizer.prompt(tokenizer.config.audio_slots(frames))
        mels.append(between - begun)
        prompts.append(time.process_time() - between)
    return statistics.median(mels), statistics.median(prompts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 32])
    options = parser.parse_args()
    audio = statistics.mean(load_audio(clip).duration for clip in CLIPS)
    busy = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{os.cpu_count()} cores, load before {busy}; clips of {audio:.1f} s on average\n")
    servers = {
        "vLLM, float32": ((BIN / "vllm", "serve", CHECKPOINT, "--dtype", "float32",
                           "--enforce-eager", "--max-num-seqs", "16"), "/health"),
        "ark-asr serve, int8": ((BIN / "ark-asr", "serve", "--threads", "1", "--max-queue", "64",
                                 "--batch-size", "16"), "/ready"),
    }  # fmt: skip
    print("| server | clients | requests/s | median s | 95 % s | RTFx | processor s a request |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    alone = {}
    for name, (command, health) in servers.items():
        with serving(*command, health=health) as (url, used):
            with connected(url) as http:
                send(http, CLIPS[0])
            for clients in options.clients:
                before = used()
                rate, took = load(url, clients, options.seconds)
                each = (used() - before) / len(took)
                middle, late = statistics.median(took), took[int(len(took) * 0.95)]
                alone.setdefault(name, each)
                print(f"| {name} | {clients} | {rate:.2f} | {middle:.3f} | {late:.3f} "
                      f"| {rate * audio:.1f} | {each:.3f} |", flush=True)  # fmt: skip
    mel, prompt = before_the_model()
    print(f"\nbefore the model: log-mel {1000 * mel:.2f} ms, prompt {1000 * prompt:.3f} ms a clip")
    for name, each in alone.items():
        share = 100 * (mel + prompt) / each
        print(f"- {share:.1f} % of the processor time of {name} with one client")
    print(f"\nload afterwards {' '.join(f'{one:.1f}' for one in os.getloadavg())}")


if __name__ == "__main__":
    main()

"""Speed and memory at the size of ARK-ASR-0.6B: every way to run it on a CPU, side by side.

    python benchmarks/real_size.py prepare FOLDER
    python benchmarks/real_size.py run FOLDER [--threads N] [--ways WAY ...] [--repeat N]
    python benchmarks/real_size.py draw

``prepare`` writes a checkpoint of random weights in the published geometry, our packages of it, and
the publisher's own ONNX layout (exported and quantised with PyTorch and ONNX Runtime's tools). What
random weights say is noise, so every way writes the same number of tokens: as many as speech of
that length needs. ``run`` measures each way in a process of its own:

- int8, int4: our packages, through our engine
- official: the publisher's graphs, driven as the publisher's script drives them: fixed caches that
  the host hands over whole with every token and writes what is new into
- fp32, bf16: the checkpoint in transformers (``generate``), the model card's way on a CPU

Tasks: a clip of 10 s (33 tokens), one of 30 s (100 tokens), and a recording of ten minutes as 60
clips of 10 s. Our packages decode the clips of the recording together; ways that cannot are given
fewer clips (``--few``). Times are scaled to 60 clips: said below the table.

Where other programs share the machine, one measurement says little: ``--repeat`` goes through all
ways again and again, in turn, and shows the best and the median. ``run`` writes its table and raw
figures to ``--results`` and draws them (``--picture``); ``draw`` draws what is in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]
from mini import peak_bytes, processor
from size_report import MACHINE, Figures, draw, machine_line, table
from size_ways import OURS, RATE, WAYS, open_way

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "real_size.txt"
PICTURE = ROOT / "docs" / "pictures" / "real-size.png"
CLIPS = 60
MEASURED = 48  # of them by our packages: whole batches
BATCH = 16  # as `ark-asr transcribe` does it
SHORT = (10.0, 33)
LONG = (30.0, 100)


def prepare(folder: Path) -> None:
    """Make what is not there yet. What was interrupted has another name and is begun anew."""
    from ark_asr.graphs.convert import build_package

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, official, half = (folder / name for name in ("checkpoint", "official", "half"))
    shutil.rmtree(half, ignore_errors=True)
    if not checkpoint.exists():
        script = Path(__file__).parent / "make_random_checkpoint.py"
        subprocess.run([sys.executable, script, half], check=True)
        half.rename(checkpoint)
    for precision in OURS:
        if not (folder / precision).exists():
            began = time.perf_counter()
            build_package(checkpoint, folder / precision, precision=precision)
            print(f"{precision}: {time.perf_counter() - began:.0f} s", flush=True)
    if not official.exists():
        from torch_export import export_package, quantize_package

        export_package(checkpoint, half / "plain", positions=2048)
        quantize_package(half / "plain", half / "official")
        (half / "official").rename(official)
        shutil.rmtree(half)


def measure(way: str, folder: Path, threads: int, many: int, few: int) -> dict[str, float]:
    sound = speech(max(SHORT[0], LONG[0]))
    began = time.perf_counter()
    ask = open_way(way, folder, threads)
    found = {"load": time.perf_counter() - began}
    short, long = (sound[: round(seconds * RATE)] for seconds, _ in (SHORT, LONG))
    ask([short[: 3 * RATE]], 3, lambda: None)  # warms up
    for name, clip, tokens in (("10", short, SHORT[1]), ("30", long, LONG[1])):
        began, firsts = time.perf_counter(), []
        ask([clip], tokens, lambda: firsts.append(time.perf_counter()))  # noqa: B023 - called now
        found |= {f"first {name}": firsts[0] - began, f"total {name}": time.perf_counter() - began}
    clips, size = (many, BATCH) if way in OURS else (few, 1)
    began = time.perf_counter()
    for _ in range(0, clips, size):
        ask([short] * size, SHORT[1], lambda: None)
    found["ten minutes"] = (time.perf_counter() - began) * CLIPS / clips
    return found | {"peak": peak_bytes(), "clips": clips}


def memory_rate(threads: int) -> float:
    """Bytes per second that so many threads read together: what a decoder's step lives from."""
    block = np.ones(2**26)  # 512 MiB, more than any cache here
    parts = np.array_split(block, threads)
    with ThreadPoolExecutor(threads) as pool:
        return block.nbytes / best_of(5, lambda: list(pool.map(np.sum, parts)))


def product_rate(threads: int) -> float:
    """Operations per second of an int8 product as large as the encoder's: 500 rows."""
    from ark_asr.engines.sessions import open_session, session_options
    from ark_asr.graphs.builder import FLOAT, DataFile, GraphBuilder
    from ark_asr.graphs.linear import Int8Linear

    rows, inner, out = 500, 1280, 5120
    with tempfile.TemporaryDirectory() as folder:
        with DataFile(Path(folder) / "weights.bin") as data:
            graph = GraphBuilder("product", data)
            x = graph.input("x", FLOAT, ["rows", inner])
            weight = np.random.default_rng(0).standard_normal((out, inner), np.float32)
            product = Int8Linear(many_rows=True)(graph, x, "weight", weight)
            graph.output(product, FLOAT, ["rows", out])
            graph.save(Path(folder) / "product.onnx")
        session = open_session(Path(folder) / "product.onnx", session_options(threads))
        feed = {"x": np.ones((rows, inner), np.float32)}
        return 2 * rows * inner * out / best_of(20, lambda: session.run(None, feed))


def best_of(count: int, task: Callable[[], object]) -> float:
    """Seconds of the fastest of so many runs, after one to warm up."""
    task()
    took = []
    for _ in range(count):
        began = time.perf_counter()
        task()
        took.append(time.perf_counter() - began)
    return min(took)


def speech(seconds: float) -> np.ndarray:
    from ark_asr.audio import load_audio

    return load_audio(ROOT / "samples" / "minute.flac").samples[: round(seconds * RATE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "run", "draw", "one"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--repeat", type=int, default=1, help="rounds through all ways")
    parser.add_argument("--many", type=int, default=MEASURED, help="clips for our packages")
    parser.add_argument("--few", type=int, default=3, help="clips for the ways that take long")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if options.what == "draw":
        draw(Figures.read(options.results.read_text().splitlines()), options.picture)
        return
    if options.folder is None:
        parser.error("which FOLDER?")
    if options.many % BATCH:
        parser.error(f"--many must be a multiple of {BATCH}: so many clips are decoded together")
    if options.what == "prepare":
        prepare(options.folder)
    elif options.what == "one":
        way = options.ways[0]
        print(json.dumps(measure(way, options.folder, options.threads, options.many, options.few)))
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    head = (f"ARK-ASR-0.6B geometry, random weights; {processor()}, {options.threads} threads, "
            f"load before {os.getloadavg()[0]:.1f}, {platform.system()}, "
            f"Python {platform.python_version()}")  # fmt: skip
    figures = Figures()
    for number in range(1, options.repeat + 1):
        rates = {"memory": memory_rate(options.threads), "products": product_rate(options.threads)}
        figures.add(number, MACHINE, rates)
        print(machine_line(number, rates), file=sys.stderr)
        for way in options.ways:
            figures.add(number, way, measured_apart(way, options))
            print(f"{way}: {figures.rounds[number][way]}", file=sys.stderr)
    scaled = (f"ten minutes: {CLIPS} clips; int8 and int4 measured on {options.many}, {BATCH} at a "
              f"time, the others on {options.few} one by one, and scaled")  # fmt: skip
    text = "\n".join([head, "", table(figures), "", scaled, "", *figures.raw()])
    print(text)
    options.results.write_text(text + "\n")
    draw(figures, options.picture)


def measured_apart(way: str, options: argparse.Namespace) -> dict[str, float]:
    """One way in a process of its own, whose peak memory is its own, too."""
    command = [sys.executable, __file__, "one", str(options.folder), "--ways", way,
               "--threads", str(options.threads), "--many", str(options.many),
               "--few", str(options.few)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()

"""Speed and memory of one checkpoint as int8 package, fp32 package and in PyTorch, in one run.

    python benchmarks/mini.py CHECKPOINT AUDIO... [--threads N] [--repeats N]

Both packages are built into a temporary folder first. Each engine runs in a process of its own,
which loads the model, listens to every recording once to warm up, and then ``--repeats`` times:

- load: imports and opening the model, from a warm disk cache
- first word: decoding, features, encoder and prompt of the first recording's first clip
- RTF: processing time over audio time, all recordings together, and its inverse
- peak: the most memory the process ever had, mapped files included

Best and median of the repeats are shown. Nothing else should run on the machine: its load is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINES = ("int8", "fp32", "torch")


def worker(folder: Path, recordings: list[str], threads: int, repeats: int) -> dict[str, object]:
    start = time.perf_counter()
    from ark_asr.pipeline import Recognizer

    with Recognizer.load(folder, threads=threads) as recognizer:
        loaded = time.perf_counter() - start
        texts = [recognizer.transcribe(path).text for path in recordings]  # warms up
        totals, firsts, stages = [], [], []
        for _ in range(repeats):
            timings = [recognizer.transcribe(path).timings for path in recordings]
            totals.append(sum(t.total for t in timings))
            firsts.append(next((t.first_text for t in timings if t.first_text is not None), None))
            stages.append(
                [sum(getattr(t, name) for t in timings) for name in ("encoder", "decoder")]
            )
        audio = sum(t.audio for t in timings)
    best = min(range(repeats), key=totals.__getitem__)
    return {
        "load": loaded, "audio": audio, "totals": totals, "firsts": [f for f in firsts if f],
        "stages": stages[best], "peak": peak_bytes(), "texts": texts,
    }  # fmt: skip


def peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent's memory before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def processor() -> str:
    from ark_asr.engines.cpu import cpu_name, int8_instructions

    return f"{cpu_name()} ({', '.join(int8_instructions() or []) or 'no int8 instructions known'})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("recordings", nargs="+", metavar="AUDIO")
    parser.add_argument("--threads", type=int, help="of each engine; default: physical cores")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    from ark_asr.engines.sessions import default_threads

    threads = options.threads or default_threads()
    if options.worker:
        print(json.dumps(worker(options.checkpoint, options.recordings, threads, options.repeats)))
        return
    compare(options.checkpoint, options.recordings, threads, options.repeats)


def compare(checkpoint: Path, recordings: list[str], threads: int, repeats: int) -> None:
    import onnxruntime

    from ark_asr.graphs.convert import build_package

    with tempfile.TemporaryDirectory() as made:
        folders = {"torch": checkpoint}
        for precision in ("int8", "fp32"):
            folders[precision] = Path(made) / precision
            build_package(checkpoint, folders[precision], precision=precision)
        load = os.getloadavg()[0]
        results = {name: run(folders[name], recordings, threads, repeats) for name in ENGINES}
        sizes = {
            name: sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            for name, folder in folders.items()
        }
    print(f"{checkpoint.resolve().name}: {len(recordings)} recordings, "
          f"{results['int8']['audio']:.1f} s of audio, {repeats} repeats")  # fmt: skip
    print(f"{processor()}, {os.cpu_count()} CPUs, {threads} threads, load before {load:.1f}")
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
          f"onnxruntime {onnxruntime.__version__}, {torch_version()}\n")  # fmt: skip
    columns = (("engine", 8), ("size MB", 9), ("load s", 8), ("first word s", 16), ("RTF", 18),
               ("x real time", 13), ("encoder s", 11), ("decoder s", 11), ("peak MB", 9),
               ("same text", 11))  # fmt: skip
    print("".join(f"{title:>{width}}" for title, width in columns))
    reference = results["torch"]["texts"]
    for name in ENGINES:
        found = results[name]
        rtfs = [total / found["audio"] for total in found["totals"]]
        encoder, decoder = found["stages"]
        same = sum(a == b for a, b in zip(found["texts"], reference, strict=True))
        cells = (name, f"{sizes[name] / 1e6:.1f}", f"{found['load']:.2f}", pair(found["firsts"], 3),
                 pair(rtfs, 4), f"{1 / min(rtfs):.1f}", f"{encoder:.2f}", f"{decoder:.2f}",
                 f"{found['peak'] / 1e6:.0f}", f"{same}/{len(reference)}")  # fmt: skip
        print("".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, columns, strict=True)))
    print("\nfirst word and RTF: best / median; encoder and decoder: seconds of the best repeat; "
          "same text: recordings with PyTorch's transcript")  # fmt: skip


def run(folder: Path, recordings: list[str], threads: int, repeats: int) -> dict:
    command = [sys.executable, __file__, str(folder), *recordings, "--worker",
               "--threads", str(threads), "--repeats", str(repeats)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{folder}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def pair(values: list[float], digits: int) -> str:
    if not values:
        return "no words"
    return f"{min(values):.{digits}f} / {statistics.median(values):.{digits}f}"


def torch_version() -> str:
    from importlib.metadata import version

    return f"torch {version('torch')}"


if __name__ == "__main__":
    main()

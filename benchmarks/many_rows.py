"""Whether the memory of `ark-asr batch` grows with the rows of its manifest.

    python benchmarks/many_rows.py [--rows N] [--model NAME|PATH] [--threads N] [--keep DIR]

The samples are cut into clips of a second, and the manifest names them again and again, each row
with keys of its own. The program runs as a user would start it; every twentieth of the rows its
resident memory is read from outside (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from ark_asr import __version__
from ark_asr.audio import SAMPLE_RATE, load_audio
from mini import processor

ROOT = Path(__file__).resolve().parent.parent
STEPS = 20
MIB = 1 << 20


def write_manifest(folder: Path, rows: int) -> Path:
    """Clips of a second beneath the folder, and a manifest of so many rows."""
    clips = []
    for sample in sorted((ROOT / "samples").glob("*.flac")):
        sound = load_audio(sample).samples
        for first in range(0, len(sound) - SAMPLE_RATE + 1, SAMPLE_RATE):
            clip = np.round(np.clip(sound[first : first + SAMPLE_RATE], -1, 1) * 32767)
            clips.append(folder / f"{sample.stem}-{first // SAMPLE_RATE:03}.wav")
            with wave.open(str(clips[-1]), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(SAMPLE_RATE)
                file.writeframes(clip.astype("<i2").tobytes())
    manifest = folder / "rows.jsonl"
    with manifest.open("w") as file:
        for number in range(rows):
            row = {"audio": clips[number % len(clips)].name, "text": "", "row": number}
            file.write(json.dumps(row) + "\n")
    return manifest


def memory(pid: int, what: str) -> float:
    """MiB of a process: ``VmRSS`` is now, ``VmHWM`` the most there ever were."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024 / MIB


def count(output: Path) -> int:
    return output.read_bytes().count(b"\n") if output.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--model", default="ark-mini")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for manifest and output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        manifest, output = write_manifest(folder, options.rows), folder / "out.jsonl"
        options_of_batch = {"-i": manifest, "-o": output, "--model": options.model,
                            "--threads": options.threads}  # fmt: skip
        words = [str(word) for pair in options_of_batch.items() for word in pair]
        command = [sys.executable, "-m", "ark_asr", "batch", "-q", "--overwrite", *words]
        print(
            f"ark-asr {__version__}, {options.model}, {options.rows} rows of 1 s, "
            f"{options.threads} threads, {processor()}\n\n{'rows':>8}{'MiB':>10}{'most':>10}"
            f"{'seconds':>10}",
            flush=True,
        )
        began, shown = time.perf_counter(), 0
        program = subprocess.Popen(command, cwd=folder)
        # Half a second: the last look is at a process that has nearly written all.
        while os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            done = count(output)
            if done >= options.rows * (shown + 1) // STEPS:
                shown = done * STEPS // options.rows
                now, most = memory(program.pid, "VmRSS"), memory(program.pid, "VmHWM")
                took = time.perf_counter() - began
                print(f"{done:>8}{now:>10.1f}{most:>10.1f}{took:>10.0f}", flush=True)
            time.sleep(0.5)
        code, took = program.wait(), time.perf_counter() - began
        rows = [json.loads(line) for line in output.read_bytes().splitlines()]
        right = [row["row"] for row in rows] == list(range(options.rows))
        errors = sum("error" in row for row in rows)
        print(
            f"\nexit code {code}; {len(rows)} rows, {'all in order' if right else 'NOT in order'}, "
            f"{errors} errors; {took:.0f} s, {options.rows / took:.1f} s of sound per second"
        )


if __name__ == "__main__":
    main()

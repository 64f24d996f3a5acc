"""Memory and speed over a recording of many hours, made while it is read.

    python benchmarks/long.py SPEECH... [--hours N] [--model NAME|PATH] [--no-vad]

The recordings are repeated with pauses of random length, as headerless samples from a stream, so
nothing of that length is on disk or in memory. Every tenth of the way the resident memory is shown,
and how much it is above that of the loaded model after its first clip.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from pathlib import Path

import numpy as np

from ark_asr import Progress, Recognizer, TranscribeOptions, __version__
from ark_asr.audio import SAMPLE_RATE, load_audio


class Endless(io.RawIOBase):
    """Speech and pauses as 16-bit samples, for so many seconds."""

    def __init__(self, recordings: list[np.ndarray], seconds: float) -> None:
        self._recordings = recordings
        self._left = round(seconds * SAMPLE_RATE) * 2
        self._rng = np.random.default_rng(3)
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size:
            speech = self._recordings[self._rng.integers(len(self._recordings))]
            pause = np.zeros(self._rng.integers(SAMPLE_RATE // 4, 4 * SAMPLE_RATE), "<i2")
            self._held += speech.tobytes() + pause.tobytes()
        data, self._held = self._held[: min(size, self._left)], self._held[size:]
        self._left -= len(data)
        return data


def resident() -> float:
    """Megabytes in use now; on systems without /proc the most there ever were."""
    status = Path("/proc/self/status")
    if not status.is_file():
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", metavar="SPEECH")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--vad", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    sounds = [load_audio(path).samples for path in options.recordings]
    speech = [np.round(np.clip(sound, -1, 1) * 32767).astype("<i2") for sound in sounds]
    seconds = 3600 * options.hours
    rows: list[float] = []
    first: list[float] = []

    def report(progress: Progress) -> None:
        first[:] = first or [resident()]
        if progress.done >= seconds * (len(rows) + 1) / 10:
            rows.append(resident())
            print(
                f"{progress.done / 60:>8.0f}{rows[-1]:>10.1f}{rows[-1] - first[0]:>+10.1f}"
                f"{progress.speed:>10.1f}",
                flush=True,
            )

    with Recognizer.load(options.model, threads=options.threads) as recognizer:
        print(f"ark-asr {__version__}, {recognizer.name}, {options.hours:g} h, vad {options.vad}\n")
        print(f"{'minutes':>8}{'MB':>10}{'more':>10}{'x real':>10}")
        began = time.perf_counter()
        found = recognizer.transcribe(
            Endless(speech, seconds),
            TranscribeOptions(vad=options.vad),
            source_rate=SAMPLE_RATE,
            progress=report,
        )
    took = time.perf_counter() - began
    print(f"\n{found.duration:.0f} s of sound, {len(found.segments)} segments, {took:.0f} s")


if __name__ == "__main__":
    main()

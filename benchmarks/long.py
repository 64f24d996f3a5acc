"""Memory and speed over a recording of many hours, made while it is read.

    python benchmarks/long.py SPEECH... [--hours N] [--model NAME|PATH] [--no-vad | --live]

The recordings are repeated with pauses of random length, as headerless samples from a stream, so
nothing of that length is on disk or in memory. Every tenth of the way the resident memory is shown,
and how much it is above that of the loaded model after its first clip. ``--live`` captions it, as
fast as it goes and with a look every two seconds, in blocks of a tenth of a second.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from pathlib import Path

import numpy as np

from ark_asr import LiveOptions, Recognizer, TranscribeOptions, __version__
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
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--vad", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    sounds = [load_audio(path).samples for path in options.recordings]
    speech = [np.round(np.clip(sound, -1, 1) * 32767).astype("<i2") for sound in sounds]
    seconds = 3600 * options.hours
    endless = Endless(speech, seconds)
    with Recognizer.load(options.model, threads=options.threads) as recognizer:
        how = "live" if options.live else f"vad {options.vad}"
        print(f"ark-asr {__version__}, {recognizer.name}, {options.hours:g} h, {how}\n")
        table = Table(seconds)
        if options.live:
            heard, segments = caption(recognizer, endless, table)
        else:
            found = recognizer.transcribe(
                endless,
                TranscribeOptions(vad=options.vad),
                source_rate=SAMPLE_RATE,
                progress=lambda progress: table.show(progress.done),
            )
            heard, segments = found.duration, len(found.segments)
    print(f"\n{heard:.0f} s of sound, {segments} segments, {table.elapsed:.0f} s")


class Table:
    """A line for every tenth of the way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.perf_counter()
        self._first: float | None = None
        self._rows = 0
        print(f"{'minutes':>8}{'MB':>10}{'more':>10}{'x real':>10}")

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    def show(self, done: float) -> None:
        now = resident()
        self._first = self._first or now
        if done >= self._seconds * (self._rows + 1) / 10:
            self._rows += 1
            print(f"{done / 60:>8.0f}{now:>10.1f}{now - self._first:>+10.1f}"
                  f"{done / self.elapsed:>10.1f}", flush=True)  # fmt: skip


def caption(recognizer: Recognizer, sound: Endless, table: Table) -> tuple[float, int]:
    """Seconds of sound, and finished utterances."""
    session, finals = recognizer.live(LiveOptions(step=2.0)), 0
    while block := sound.read(SAMPLE_RATE // 10 * 2):
        events = session.feed(np.frombuffer(block, "<i2").astype(np.float32) / 32768)
        finals += sum(event.kind == "final" for event in events)
        if finals:
            table.show(session.position)
    return session.position, finals + len(session.finish())


if __name__ == "__main__":
    main()

"""How fast log-mel, voice activity and decoding are on one core, as a table.

    OMP_NUM_THREADS=1 python benchmarks/mel.py

The sound is noise in the rhythm of speech: the time of none of these depends on what is said.
"""

from __future__ import annotations

import io
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import onnxruntime

from ark_asr.audio import LogMel, SpeechDetector, cut, load_audio
from ark_asr.models.config import FeatureConfig
from ark_asr.types import Audio

RATE = 16_000
SECONDS = 60
REPEATS = 5


def main() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(SECONDS * RATE) / RATE
    noise = 0.1 * rng.standard_normal(len(t)) * np.clip(np.sin(2 * np.pi * 2 * t), 0, 1)
    sound = noise.astype(np.float32)
    mel, detector = LogMel(FeatureConfig()), SpeechDetector()
    clips = [sound[start : start + 30 * RATE] for start in range(0, len(sound), 30 * RATE)]
    flac = encoded(sound)

    print(f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, "
          f"onnxruntime {onnxruntime.__version__}, PyAV {av.__version__}")  # fmt: skip
    print(f"load when started: {os.getloadavg()[0]:.1f}; best and median of {REPEATS} runs\n")
    print(f"{'what':<34} {'x real time, best':>18} {'median':>8}")
    report("log-mel, clips of 30 s", lambda: [mel(clip) for clip in clips])
    report(
        "log-mel, clips of 5 s",
        lambda: [mel(sound[at : at + 5 * RATE]) for at in range(0, len(sound), 5 * RATE)],
    )
    report("voice activity", lambda: detector.feed(sound))
    report("cutting into clips, with VAD", lambda: list(cut([Audio(sound, RATE)], 30.0)))
    report("decoding FLAC at 16 kHz", lambda: load_audio(flac))
    report("resampling an array from 48 kHz", lambda: load_audio(sound, source_rate=48_000), 1 / 3)


def report(what: str, run: Callable[[], object], share: float = 1.0) -> None:
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    best, median = (SECONDS * share / value for value in (min(times), sorted(times)[REPEATS // 2]))
    print(f"{what:<34} {best:>18,.0f} {median:>8,.0f}")


def encoded(sound: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as output:
        stream = output.add_stream("flac", rate=RATE, layout="mono")
        samples = np.round(sound[None] * 32767).astype(np.int16)
        for start in range(0, samples.shape[1], 4096):
            piece = np.ascontiguousarray(samples[:, start : start + 4096])
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()

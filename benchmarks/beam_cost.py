"""What a beam and hot words cost at a size whose weights are not here.

    python benchmarks/beam_cost.py MANIFEST [--model PACKAGE] [--seconds 10 60] [--rounds N]

Recordings of the manifest are joined with pauses (`live.joined`) and transcribed in every way in
turn, so that all ways meet the same neighbours. The model computes all that it would compute, and
then writes invented text at the speed of speech (`live.Scripted`): random weights would write noise
until a guard stops them. Printed are the best and the median of the rounds, and their ratio to
greedy search.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from ark_asr import Recognizer, TranscribeOptions
from ark_asr.engines import load_model
from ark_asr.models.store import resolve
from live import RATE, Scripted, joined
from mini import processor

WAYS = {
    "greedy": TranscribeOptions(),
    "beam of 2": TranscribeOptions(beam_size=2),
    "beam of 4": TranscribeOptions(beam_size=4),
    "beam of 8": TranscribeOptions(beam_size=8),
    "hot words": TranscribeOptions(hotwords=("Ljubljana", "Fourier", "eigenvalue")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="runs/real-size/int8")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    folder = resolve(options.model)
    engine, tokenizer = load_model(folder, threads=options.threads)
    print(f"{folder.name} (scripted text); {processor()}, {options.threads} threads, "
          f"{options.rounds} rounds")  # fmt: skip
    with Recognizer(Scripted(engine, tokenizer), tokenizer, folder.name) as recognizer:
        for seconds in options.seconds:
            sound, _ = joined(options.manifest, seconds)
            sound = sound[: round(seconds * RATE)]
            compare(recognizer, sound, options.rounds)


def compare(recognizer: Recognizer, sound: np.ndarray, rounds: int) -> None:
    recognizer.transcribe(sound[: 5 * RATE], source_rate=RATE)
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, asked in WAYS.items():
            began = time.perf_counter()
            found = recognizer.transcribe(sound, asked, source_rate=RATE)
            took[way].append(time.perf_counter() - began)
    tokens = sum(segment.tokens for segment in found.segments)
    print(f"\n{len(sound) / RATE:.0f} s in {len(found.segments)} clips, {tokens} tokens")
    print(f"{'':12s}{'best s':>8}{'median s':>10}{'x greedy':>10}")
    for way, times in took.items():
        ratio = np.median(np.divide(times, took["greedy"]))
        print(f"{way:12s}{min(times):8.2f}{np.median(times):10.2f}{ratio:10.2f}")


if __name__ == "__main__":
    main()

"""Write the recordings of manifests into 16-bit WAV files, which training reads without decoding.

    python as_wav.py real/real-train.jsonl [MORE.jsonl ...] --out realwav

Every manifest becomes OUT/NAME.wav, all its clips one behind the other, and OUT/NAME.jsonl with the
times in it. All else of a row stays as it was.
"""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path

import numpy as np

from ark_asr.training.rows import read_manifest, read_samples

RATE = 16_000


def rewrite(manifest: Path, out: Path) -> float:
    """Write one manifest anew; returns its hours."""
    lines = [line for line in manifest.read_text("utf-8").splitlines() if line.strip()]
    sound, target = out / f"{manifest.stem}.wav", out / manifest.name
    partial = sound.with_suffix(".partial")
    rows, position = [], 0
    with partial.open("wb") as raw, wave.open(raw) as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for line, row in zip(lines, read_manifest(manifest), strict=True):
            samples = np.clip(read_samples(row, RATE), -1, 1)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
            end = position + len(samples)
            times = {"begin_time": position / RATE, "end_time": end / RATE}
            kept = {
                **json.loads(line),
                "audio": sound.name,
                "duration": len(samples) / RATE,
                **times,
            }
            rows.append(json.dumps(kept, ensure_ascii=False))
            position = end
    partial.replace(sound)
    partial.write_text("\n".join(rows) + "\n", "utf-8")
    partial.replace(target)
    return position / RATE / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for manifest in args.manifests:
        if manifest.parent.resolve() == args.out.resolve():
            raise SystemExit(f"{manifest} would be written over: name another folder with --out")
        print(f"{manifest.stem}: {rewrite(manifest, args.out):.2f} h")


if __name__ == "__main__":
    main()

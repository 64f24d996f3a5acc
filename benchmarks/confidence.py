"""Can confidence be trusted: calibration error before and after the curve that a model carries.

    python benchmarks/confidence.py MANIFEST... [--model NAME|PATH] [--picture FILE]

For each manifest (JSON lines with ``audio`` and ``text``): how many words the model said, how many
were right, the expected calibration error of its own probabilities, that of the curve in the model,
and that of a curve fitted on the other four fifths of the same recordings. The picture shows the
first manifest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ark_asr.batch.manifests import read_manifest
from ark_asr.engines import load_model
from ark_asr.evaluation.calibrate import Findings, calibrate
from ark_asr.evaluation.reliability import calibration_error, held_out, reliability
from ark_asr.models.calibration import Calibration
from ark_asr.models.store import resolve


def confidences(found: Findings, stored: Calibration) -> dict[str, np.ndarray]:
    """Confidence of each word that was said, by where it comes from."""
    words = found.words
    return {
        "the model's own probability": words.raw,
        "with the stored curve": np.array([stored.confidence(value) for value in words.raw]),
        "with a curve of other recordings": held_out(words.raw, words.right, words.recording),
    }


def draw(found: Findings, by_kind: dict[str, np.ndarray], path: Path) -> None:
    """The reliability diagram: share of right words against confidence."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(4.6, 4.2))
    axis.plot([0, 1], [0, 1], color="#cccccc", zorder=0)
    shown = [kind for kind in by_kind if kind != "with the stored curve"]
    for kind, colour in zip(shown, ("#d9822b", "#1b6ca8"), strict=True):
        bins = reliability(by_kind[kind], found.words.right)
        axis.plot(
            [one.confidence for one in bins], [one.right for one in bins], "o-", color=colour,
            markersize=4, linewidth=1.2, label=kind,
        )  # fmt: skip
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of words that is right")
    axis.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    folder = resolve(options.model)
    stored = Calibration.load(folder.path)
    if stored is None:
        raise SystemExit(f"{folder.path} is not calibrated; see ark-asr models calibrate")
    engine, tokenizer = load_model(folder, threads=options.threads)
    print("| set | words | right | own | stored curve | curve of other recordings |")
    print("|---|---|---|---|---|---|")
    for number, manifest in enumerate(options.manifests):
        found = calibrate(engine, tokenizer, read_manifest(manifest))
        right = found.words.right
        by_kind = confidences(found, stored)
        cells = [f"{calibration_error(value, right):.3f}" for value in by_kind.values()]
        print(f"| {Path(manifest).stem} | {len(right)} | {right.mean():.0%} | "
              f"{' | '.join(cells)} |", flush=True)  # fmt: skip
        if options.picture and number == 0:
            draw(found, by_kind, options.picture)


if __name__ == "__main__":
    main()

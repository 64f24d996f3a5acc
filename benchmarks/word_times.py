"""How exact word times are, against speech whose word times are known.

    python benchmarks/word_times.py --data DIR [--model NAME|PATH] [--limit N] [--picture FILE]

DIR holds ``digits/`` and ``commands_and_sentences/`` with their manifests. Three sets: sentences
spoken by espeak-ng, the same with white noise (10 dB), and single recordings of real people joined
(digits of a speaker at 8 kHz; words of another at 44 kHz). Each is aligned twice: the true text,
fed as if the model had said it, and what the model itself understood, of which only the words that
are right can be compared. The baseline spreads the words over the sound by their letters.

The truth of the joined words is poor: those recordings have up to 250 ms of breath and noise of
their own around the word, less than 40 dB below it, which here counts as part of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import kaldialign
import numpy as np

from ark_asr.engines import load_model
from ark_asr.models.calibration import Calibration
from ark_asr.models.store import resolve
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.pipeline.words import WordTimer
from ark_asr.types import Hypothesis, TranscribeOptions, Word
from spoken_words import Clip, espeak_clips, joined_clips, sentences, single_words, with_noise

WAYS = {
    "true text": "the true text, aligned",
    "letters": "the true text, spread by letters",
    "own text": "right words of the model's own text, aligned",
    "no heads": "the true text, heads chosen per clip",
}
COLOURS = {
    "true text": "#1b6ca8",
    "letters": "#b0b0b0",
    "own text": "#d9822b",
    "no heads": "#5a9e6f",
}


class Aligner:
    """A model, and the ways in which it gives words their times."""

    def __init__(self, model: str | None, threads: int | None) -> None:
        folder = resolve(model)
        self.name = folder.name
        self.engine, self.tokenizer = load_model(folder, threads=threads)
        calibration = Calibration.load(folder.path)
        options, self.watch = TranscribeOptions(), Stopwatch()
        parts = (self.engine, self.tokenizer)
        self.listener = Listener(*parts, options, self.watch, lambda: False)
        estimate = replace(options, word_times="estimate")
        self.timers = {
            "true text": WordTimer(*parts, options, calibration, self.watch),
            "no heads": WordTimer(*parts, options, None, Stopwatch()),
            "letters": WordTimer(*parts, estimate, calibration, Stopwatch()),
        }

    def errors(self, clips: Iterable[Clip]) -> dict[str, np.ndarray]:
        """Start and end errors in seconds, ``[words, 2]``, by way; and how many words there are."""
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for clip in clips:
            (heard,) = self.listener.hear([clip.audio])
            ids = tuple(self.tokenizer.encode(clip.text))
            forced = Heard(clip.audio, heard.embeddings, Hypothesis(ids, (0.0,) * len(ids), "end"))
            for way, timer in self.timers.items():
                words = timer.words(forced)
                assert [word.text for word in words] == [word.text for word in clip.words]
                found[way] += _differences(words, clip.words)
            own = self.timers["true text"].words(heard)
            found["own text"] += _differences(*_agreed(own, clip.words))
        return {way: np.array(errors).reshape(-1, 2) for way, errors in found.items()}


def _differences(words, truths) -> list[tuple[float, float]]:
    return [(w.start - t.start, w.end - t.end) for w, t in zip(words, truths, strict=True)]


def _agreed(words: tuple[Word, ...], truths):
    """The pairs that an alignment of the two texts calls the same word."""
    pairs = kaldialign.align([t.text for t in truths], [w.text for w in words], "")
    said, meant, kept = iter(words), iter(truths), []
    for ref, hyp in pairs:
        pair = (next(said) if hyp else None, next(meant) if ref else None)
        if ref == hyp:
            kept.append(pair)
    return zip(*kept, strict=True) if kept else ((), ())


def row(name: str, way: str, errors: np.ndarray) -> str:
    """One line of the table: median, share within 100 and 200 ms, of starts and of ends."""
    cells = []
    for column in np.abs(errors).T:
        within = [100 * np.mean(column <= limit) for limit in (0.1, 0.2)]
        cells.append(f"{1000 * np.median(column):.0f} ms | {within[0]:.0f} % | {within[1]:.0f} %")
    return f"| {name} | {WAYS[way]} | {len(errors)} | {' | '.join(cells)} |"


def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Share of words (starts and ends together) whose error is below a limit."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(3.1 * len(found), 3.2), sharey=True)
    for axis, (name, by_way) in zip(axes, found.items(), strict=True):
        for way, errors in by_way.items():
            if len(errors):
                ordered = np.sort(np.abs(errors).ravel()) * 1000
                share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
                axis.plot(ordered, share, color=COLOURS[way], label=WAYS[way], linewidth=1.6)
        axis.set(title=name, xlim=(0, 400), ylim=(0, 100), xlabel="error below, ms")
        axis.axvline(200, color="#dddddd", zorder=0)
        axis.grid(axis="y", color="#eeeeee")
    axes[0].set_ylabel("% of starts and ends")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, default=150, help="clips of each set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    other = options.data / "commands_and_sentences" / "manifest.jsonl"
    digits = single_words(options.data / "digits" / "manifest.jsonl", "FSDD", ["test"])
    spoken = [c for c, _ in zip(espeak_clips(sentences(other, "test")), range(options.limit),
                                strict=False)]  # fmt: skip
    sets = {
        "espeak-ng": spoken,
        "espeak-ng, noise 10 dB": [with_noise(c, 10, i) for i, c in enumerate(spoken)],
        "joined digits": list(joined_clips(digits, options.limit, seed=7)),
        "joined words": list(
            joined_clips(single_words(other, "art4apps", ["train"]), options.limit, seed=8)
        ),
    }
    aligner = Aligner(options.model, options.threads)
    print(f"{aligner.name}\n")
    print("| speech | what | words | start: median | within 100 ms | 200 ms | end: median "
          "| within 100 ms | 200 ms |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    found = {}
    for name, clips in sets.items():
        found[name] = aligner.errors(clips)
        for way in WAYS:
            if len(found[name][way]):
                print(row(name, way, found[name][way]), flush=True)
    times = aligner.watch.timings(sum(c.audio.duration for clips in sets.values() for c in clips))
    heard = times.encoder + times.decoder
    print(f"\n{times.audio:.0f} s: hearing {heard:.1f} s, times of both texts {times.words:.1f} s")
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()

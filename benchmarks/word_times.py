"""How exact word times are, against speech whose word times are known.

    python benchmarks/word_times.py --data DIR [--model NAME|PATH] [--limit N] [--only NAME]
        [--picture FILE]

DIR holds ``digits/`` and ``commands_and_sentences/`` with their manifests. Three sets: sentences
spoken by espeak-ng, the same with white noise (10 dB), and single recordings of real people joined
(digits of a speaker at 8 kHz; words of another at 44 kHz). Each is aligned twice: the true text,
fed as if the model had said it, and what the model itself understood, of which only the words that
are right can be compared. The baseline spreads the words over the sound by their letters.

The recordings of the joined words have up to 250 ms of breath and noise of their own around the
word. So their errors are given against two truths (`spoken_words.LIMITS_DB`): 40 dB, the edges of
what was joined, and 30 dB, the louder part of it; a second table shows how the figures hang on that
limit. Its last line counts only what lies outside the span between the two outermost truths, which
is wrong whatever the word's true edge may be. One line is against a truth that does not hang on
loudness: what Silero VAD calls speech in the recording of the word alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import islice
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
from spoken_words import (
    DETECTED,
    EXACT,
    LIMITS_DB,
    Clip,
    espeak_clips,
    joined_clips,
    sentences,
    single_words,
    with_noise,
)

SHOWN = {EXACT: "", LIMITS_DB[0]: "", 30: ", 30 dB"}  # truths of the first table

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

    def times(self, clips: Iterable[Clip]) -> dict[str, dict[int, np.ndarray]]:
        """Found and true start and end in seconds, ``[words, 2 of found and true, 2]``.

        By way and by the limit of the truth.
        """
        found: dict[str, dict[int, list]] = {way: {} for way in WAYS}
        for clip in clips:
            (heard,) = self.listener.hear([clip.audio])
            ids = tuple(self.tokenizer.encode(clip.text))
            forced = Heard(clip.audio, heard.embeddings, Hypothesis(ids, (0.0,) * len(ids), "end"))
            aligned = {way: timer.words(forced) for way, timer in self.timers.items()}
            own = self.timers["true text"].words(heard)
            for limit, truths in clip.truths.items():
                for way, words in aligned.items():
                    assert [word.text for word in words] == [word.text for word in truths]
                    found[way].setdefault(limit, []).extend(_pairs(words, truths))
                found["own text"].setdefault(limit, []).extend(_pairs(*_agreed(own, truths)))
        return {
            way: {limit: np.array(pairs).reshape(-1, 2, 2) for limit, pairs in by_limit.items()}
            for way, by_limit in found.items()
        }


def _pairs(words, truths) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return [((w.start, w.end), (t.start, t.end)) for w, t in zip(words, truths, strict=True)]


def errors(pairs: np.ndarray) -> np.ndarray:
    """Seconds between found and true starts and ends, ``[words, 2]``."""
    return np.abs(pairs[:, 0] - pairs[:, 1])


def outside(by_limit: dict[int, np.ndarray]) -> np.ndarray:
    """Seconds between what was found and the span between the outermost truths, ``[words, 2]``."""
    wide, narrow = lateness(by_limit[LIMITS_DB[0]]), lateness(by_limit[LIMITS_DB[-1]])
    # A start lies between the wide truth and the later narrow one, an end the other way round.
    early, late = np.minimum(wide, narrow), np.maximum(wide, narrow)
    return np.maximum(np.maximum(early, -late), 0)


def lateness(pairs: np.ndarray) -> np.ndarray:
    """Seconds by which what was found is late, ``[words, 2]``."""
    return pairs[:, 0] - pairs[:, 1]


def _agreed(words: tuple[Word, ...], truths):
    """The pairs that an alignment of the two texts calls the same word."""
    pairs = kaldialign.align([t.text for t in truths], [w.text for w in words], "")
    said, meant, kept = iter(words), iter(truths), []
    for ref, hyp in pairs:
        pair = (next(said) if hyp else None, next(meant) if ref else None)
        if ref == hyp:
            kept.append(pair)
    return zip(*kept, strict=True) if kept else ((), ())


HEAD = "start: median | within 100 ms | 200 ms | end: median | within 100 ms | 200 ms |"


def cells(off: np.ndarray) -> str:
    """Of starts and of ends: median, share within 100 and 200 ms."""
    shown = []
    for column in off.T:
        within = [100 * np.mean(column <= limit) for limit in (0.1, 0.2)]
        shown.append(f"{1000 * np.median(column):.0f} ms | {within[0]:.0f} % | {within[1]:.0f} %")
    return f"{' | '.join(shown)} |"


def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Share of words (starts and ends together) whose error is below a limit."""
    import matplotlib.pyplot as plt

    columns = (len(found) + 1) // 2
    figure, grid = plt.subplots(
        2, columns, figsize=(3.4 * columns, 5.6), sharey=True, squeeze=False
    )
    axes = grid.ravel()
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for axis, (name, by_way) in zip(axes, found.items(), strict=False):
        for way, off in by_way.items():
            if len(off):
                ordered = np.sort(off.ravel()) * 1000
                share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
                axis.plot(ordered, share, color=COLOURS[way], label=WAYS[way], linewidth=1.6)
        axis.set(title=name, xlim=(0, 400), ylim=(0, 100), xlabel="error below, ms")
        axis.axvline(200, color="#dddddd", zorder=0)
        axis.grid(axis="y", color="#eeeeee")
    for axis in grid[:, 0]:
        axis.set_ylabel("% of starts and ends")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def clips_of(data: Path, limit: int) -> dict[str, Callable[[], list[Clip]]]:
    """What makes each set."""
    other = data / "commands_and_sentences" / "manifest.jsonl"
    digits = data / "digits" / "manifest.jsonl"

    @cache  # espeak-ng can be started once in a process
    def spoken() -> list[Clip]:
        return list(islice(espeak_clips(sentences(other, "test")), limit))

    return {
        "espeak-ng": spoken,
        "espeak-ng, noise 10 dB": lambda: [with_noise(c, 10, i) for i, c in enumerate(spoken())],
        "joined digits": lambda: list(
            joined_clips(single_words(digits, "FSDD", ["test"]), limit, seed=7)
        ),
        "joined words": lambda: list(
            joined_clips(single_words(other, "art4apps", ["train"]), limit, seed=8)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int, default=150, help="clips of each set")
    parser.add_argument("--only", help="sets whose name contains this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    makers = clips_of(options.data, options.limit)
    aligner = Aligner(options.model, options.threads)
    print(f"{aligner.name}\n")
    print(f"| speech | what | words | {HEAD}")
    print("|---|---|---|---|---|---|---|---|---|")
    times, drawn, seconds = {}, {}, 0.0
    for name in [name for name in makers if (options.only or "") in name]:
        clips = makers[name]()
        seconds += sum(clip.audio.duration for clip in clips)
        times[name] = aligner.times(clips)
        for limit, what in SHOWN.items():
            shown = {way: errors(by[limit]) for way, by in times[name].items() if limit in by}
            for way, off in shown.items():
                if len(off):
                    print(f"| {name}{what} | {WAYS[way]} | {len(off)} | {cells(off)}", flush=True)
            if shown:
                drawn[name + what] = shown
    hang = {name: by_way["true text"] for name, by_way in times.items()}
    hang = {name: by_limit for name, by_limit in hang.items() if EXACT not in by_limit}
    if hang:
        print(f"\n| the true text, aligned | a word's sound reaches down to | {HEAD}")
        print("|---|---|---|---|---|---|---|---|")
    for name, by_limit in hang.items():
        for limit, pairs in by_limit.items():
            what = "what Silero VAD hears" if limit == DETECTED else f"{limit} dB below its loudest"
            print(f"| {name} | {what} | {cells(errors(pairs))}")
        span = f"outside {LIMITS_DB[0]} to {LIMITS_DB[-1]} dB"
        print(f"| {name} | {span} | {cells(outside(by_limit))}")
    taken = aligner.watch.timings(seconds)
    heard = taken.encoder + taken.decoder
    print(f"\n{taken.audio:.0f} s: hearing {heard:.1f} s, times of both texts {taken.words:.1f} s")
    if options.picture:
        draw(drawn, options.picture)


if __name__ == "__main__":
    main()

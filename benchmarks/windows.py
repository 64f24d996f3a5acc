"""Captions of windows of half a second to three seconds: each alone, or all as one stream.

    python benchmarks/windows.py score MANIFEST [--split S] [--source TEXT] [--minutes M]
    python benchmarks/windows.py cost FOLDER RECORDING [--seconds S]

``score`` joins recordings with pauses of a second and cuts the whole into windows, as Linnet does.
Side by side, in one run:

- whole: each recording transcribed by itself, the best that the model can do
- alone: each window transcribed by itself, with cf-voice's guards (0.3 s, RMS, repeats, tokens)
- stream: the windows through `ark_asr.integrations.captions`, as all integrations do

WER counts only what is final. Delays are in seconds of sound, from the end of a word (by the
transcript's own word times) to the end of the window after which it stands in the captions and
stays, and to that after which it is final; computing comes on top, as said in the last column:
processor time for each window, mean and most. Looks keep to their share of processor time, not of
time, so nothing here depends on what else the machine does.

``cost`` measures the same processor time with a model that is not trained (a package of random
weights in a published geometry): it computes all it would compute, and then writes invented text at
the speed of speech.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import transcribed
from ark_asr import Recognizer, TranscribeOptions, Word
from ark_asr.audio import load_audio
from ark_asr.engines import Engine, load_model
from ark_asr.evaluation.machine import this_machine
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.integrations.captions import (
    LEAST_RMS,
    LEAST_SECONDS,
    MOST_REPEATS,
    NO_WORDS,
    OPTIONS,
    Caption,
    Captions,
)
from ark_asr.integrations.sound import rms
from ark_asr.models.calibration import Calibration
from ark_asr.models.store import ModelFolder, resolve
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline import LiveSession
from ark_asr.types import Audio
from live import Scripted

RATE = 16_000
WINDOWS = (0.5, 1.0, 2.0, 3.0)
PAUSE = 1.0


@dataclass
class Run:
    """One way through all windows.

    Attributes:
        text: Everything that was final.
        cost: Seconds of processor time of each window.
        shown: Seconds from the end of each word until it stood in the captions.
        final: Seconds until it was final.
    """

    text: str = ""
    cost: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)


def read(options: argparse.Namespace) -> tuple[list, str]:
    """Recordings and all their words."""
    sounds, texts = [], []
    for row in transcribed.read(options.manifest, options.split):
        if options.source in row.get("source", ""):
            sounds.append(load_audio(row["path"]).samples)
            texts.append(row.get("text_norm") or row["text"])
        if sum(map(len, sounds)) >= options.minutes * 60 * RATE:
            break
    return sounds, " ".join(texts)


def joined(sounds: list) -> np.ndarray:
    pause = np.zeros(round(PAUSE * RATE), np.float32)
    return np.concatenate([pause, *(part for sound in sounds for part in (sound, pause))])


def cut(sound: np.ndarray, seconds: float) -> list[np.ndarray]:
    size = round(seconds * RATE)
    return [sound[first : first + size] for first in range(0, len(sound), size)]


def captions_of(
    folder: ModelFolder, engine: Engine, tokenizer: TextCodec, *, words: bool
) -> Captions:
    session = LiveSession(
        engine,
        tokenizer,
        OPTIONS,
        TranscribeOptions(words=words),
        clock=time.process_time,
        calibration=Calibration.load(folder.path),
    )
    return Captions(session)


def timed(work: Callable, *arguments):
    began = time.process_time()
    found = work(*arguments)
    return found, time.process_time() - began


def alone(recognizer: Recognizer, windows: list[np.ndarray]) -> Run:
    """Each window by itself."""
    run, scribe, last, repeats = Run(), recognizer.scribe(), "", 0
    for window in windows:
        if len(window) < LEAST_SECONDS * RATE or rms(window) < LEAST_RMS:
            run.cost.append(0.0)
            continue
        segments, seconds = timed(scribe.write, [Audio(window, RATE)])
        run.cost.append(seconds)
        text = " ".join(segment.text for segment in segments if segment.text)
        repeats = repeats + 1 if text == last else 1
        last = text
        if repeats <= MOST_REPEATS and text not in NO_WORDS:
            run.text += f" {text}"
    return run


def stream(session: Captions, windows: list[np.ndarray]) -> Run:
    """All windows as one stream."""
    run = Run()
    utterance: list[tuple[float, Caption]] = []
    at = 0.0
    for window in windows:
        caption, seconds = timed(session.hear, window)
        at += len(window) / RATE
        run.cost.append(seconds)
        utterance = told(run, utterance, at, caption)
    told(run, utterance, at, session.finish())
    return run


def told(run: Run, utterance: list, at: float, caption: Caption | None) -> list:
    """Note a caption that came at second ``at``; what is now known of the utterance."""
    if caption is None:
        return utterance
    utterance = [*utterance, (at, caption)]
    if not caption.final:
        return utterance
    run.text += f" {caption.text}"
    for place, word in enumerate(caption.words):
        run.final.append(at - word.end)
        run.shown.append(since(utterance, place, word) - word.end)
    return []


def since(utterance: list[tuple[float, Caption]], place: int, word: Word) -> float:
    """The second from which on a word of the final caption has stood in its place."""
    found = utterance[-1][0]
    for at, caption in reversed(utterance):
        texts = caption.text.split()
        if place >= len(texts) or texts[place] != word.text:
            break
        found = at
    return found


def score(options: argparse.Namespace) -> None:
    sounds, reference = read(options)
    sound, scheme = joined(sounds), get_scheme("basic")

    def line(way: str, seconds: float | None, run: Run) -> None:
        row = scheme.score(reference, run.text)
        wer = f"{100 * row.wer_errors / row.ref_words:.1f} ({row.wer_errors:.0f})"
        print(f"{way:8}{seconds or '':>6}{wer:>16}{times(run.shown):>14}{times(run.final):>14}"
              f"{costs(run.cost):>18}", flush=True)  # fmt: skip

    folder = resolve(options.model)
    engine, tokenizer = load_model(folder, threads=options.threads)
    with Recognizer(
        engine, tokenizer, folder.name, calibration=Calibration.load(folder.path)
    ) as recognizer:
        machine = this_machine()
        print(f"{recognizer.name}, {len(sounds)} recordings of {options.source or 'all sources'}, "
              f"{len(sound) / RATE:.0f} s with pauses, {get_words(scheme, reference)} words; "
              f"{machine.cpu}, {options.threads} thread(s)")  # fmt: skip
        print(f"{'way':8}{'s':>6}{'WER % (errors)':>16}{'shown s':>14}{'final s':>14}"
              f"{'processor ms':>18}")  # fmt: skip
        whole = Run()
        whole.text = " ".join(recognizer.transcribe(one, source_rate=RATE).text for one in sounds)
        line("whole", None, whole)
        ends = word_ends(recognizer, sound)
        for seconds in options.windows:
            windows = cut(sound, seconds)
            streamed = stream(captions_of(folder, engine, tokenizer, words=True), windows)
            parts = alone(recognizer, windows)
            # A word is known at the end of the window that it ends in.
            parts.shown = parts.final = list(np.ceil(ends / seconds) * seconds - ends)
            line("alone", seconds, parts)
            line("stream", seconds, streamed)
    print("shown, final: median / 95 % within; processor: mean / most of a window")


def word_ends(recognizer: Recognizer, sound: np.ndarray) -> np.ndarray:
    found = recognizer.transcribe(sound, TranscribeOptions(words=True), source_rate=RATE)
    return np.array([word.end for segment in found.segments for word in segment.words])


def get_words(scheme, reference: str) -> int:
    return scheme.score(reference, "").ref_words


def times(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.median(values):.2f} / {np.quantile(values, 0.95):.2f}"


def costs(values: list[float]) -> str:
    return f"{1e3 * np.mean(values):.0f} / {1e3 * max(values):.0f}" if values else "-"


def cost(options: argparse.Namespace) -> None:
    folder = resolve(options.model)
    engine, tokenizer = load_model(folder, threads=options.threads)
    sound = load_audio(options.recording, end=options.seconds).samples
    machine = this_machine()
    print(f"{folder.name} of {folder.path.parent.name}, invented text, {len(sound) / RATE:.0f} s; "
          f"{machine.cpu}, {options.threads} thread(s)")  # fmt: skip
    print(f"{'way':8}{'s':>6}{'processor s':>18}{'per s of sound':>16}")
    engine = Scripted(engine, tokenizer)
    with Recognizer(engine, tokenizer, folder.name) as recognizer:
        for seconds in options.windows:
            windows = cut(sound, seconds)
            for way, run in (
                ("alone", alone(recognizer, windows[: options.few])),
                ("stream", stream(captions_of(folder, engine, tokenizer, words=False), windows)),
            ):
                spent = sum(run.cost) / (len(run.cost) * seconds)
                most = f"{np.mean(run.cost):.2f} / {max(run.cost):.2f}"
                print(f"{way:8}{seconds:>6}{most:>18}{spent:>16.2f}", flush=True)
    print(f"processor: mean / most of a window; alone: the first {options.few} windows")


def main() -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=1)
    common.add_argument("--windows", type=float, nargs="+", default=WINDOWS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("score", parents=[common])
    verb.add_argument("manifest", type=Path)
    verb.add_argument("--model", default="ark-mini")
    verb.add_argument("--split")
    verb.add_argument("--source", default="", help="only rows whose source contains this")
    verb.add_argument("--minutes", type=float, default=5.0)
    verb.set_defaults(run=score)
    verb = verbs.add_parser("cost", parents=[common])
    verb.add_argument("model")
    verb.add_argument("recording", type=Path)
    verb.add_argument("--seconds", type=float, default=30.0)
    verb.add_argument("--few", type=int, default=6)
    verb.set_defaults(run=cost)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()

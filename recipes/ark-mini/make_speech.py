"""Make the synthetic English speech that `ark-mini` starts from.

    python make_speech.py --texts ../../../shared/data/text --out speech --hours 80 \
        --reserve ../../../shared/data/*/manifest.jsonl

Writes OUT/SPLIT/shard-00000.wav (16 kHz mono PCM16, about ten minutes each), a manifest beside each
shard, and OUT/SPLIT.jsonl, which always lists the shards that are complete. Lines, voices and
effects of a shard depend on the seed, its split and its number only, so an interrupted run goes on
where it stopped, with any number of workers. (espeak-ng keeps a wave phase between utterances: its
samples, not its words, differ a little from run to run.)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import wave
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from effects import RATE, Samples, augment, to_rate, trimmed
from lines import LineMaker, halting
from texts import Corpus, Line, normalise
from voices import Espeak, Festival, Flite, Voice, draw_voice

SHARD_SECONDS = 600.0
LONGEST_SECONDS = 14.0
TRAINING_ENGINES = (("espeak", 0.61), ("flite", 0.27), ("festival", 0.12))
UNSEEN_ENGINES = (("espeak", 0.75), ("flite", 0.25))
TEST_SETS = {"dev-synthetic": 300, "test-seen-voices": 400, "test-unseen-voices": 400}


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to make; `count` is None for training, which fills the shard by time.

    For training: `clean` is the share of its utterances that have no room, noise or telephone,
    `narrow` the share of all others that went through a telephone or a narrow recording, `single`
    the share that is one word.
    """

    split: str
    index: int
    count: int | None
    seed: int
    out: Path
    texts: Path
    reserve: tuple[Path, ...]
    clean: float = 0.15
    narrow: float = 0.15
    single: float = 0.0

    @property
    def audio(self) -> Path:
        """The finished recording."""
        return self.out / self.split / f"shard-{self.index:05d}.wav"

    @property
    def manifest(self) -> Path:
        """The rows of this shard; it exists only when the shard is complete."""
        return self.audio.with_suffix(".jsonl")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing to say and how."""

    line: Line
    voice: Voice
    seed: int
    clean: bool


@cache
def _corpus(texts: Path, reserve: tuple[Path, ...]) -> Corpus:
    files = sorted(texts.glob("en-*.txt"))
    if not files:
        raise SystemExit(f"no en-*.txt in {texts}: give the folder of sentences with --texts")
    return Corpus.read(files, tuple(_reserved(reserve)))


def _reserved(manifests: Iterable[Path]) -> Iterator[str]:
    """Texts of real recordings that are only for testing."""
    for manifest in manifests:
        for row in map(json.loads, manifest.read_text("utf-8").splitlines()):
            if row["split"] != "train" and row["language"].startswith("en"):
                yield row.get("text_norm") or normalise(row["text"]) or row["text"].lower()


@cache
def _engines() -> tuple[Espeak, Flite, Festival]:
    return Espeak(), Flite(), Festival()


def plan(job: Job) -> list[Utterance]:
    """Decide every utterance of a shard before anything is spoken."""
    corpus = _corpus(job.texts, job.reserve)
    split_key = int.from_bytes(job.split.encode(), "big") % 2**32
    rng = np.random.default_rng([job.seed, split_key, job.index])
    if job.count is None:
        lines = _lines_for(SHARD_SECONDS, LineMaker(corpus, job.single), rng)
    else:
        lines = _held_out_lines(corpus, job)
    engines = UNSEEN_ENGINES if "unseen" in job.split else TRAINING_ENGINES
    utterances = [
        Utterance(
            line,
            draw_voice(rng, engines, held_out="unseen" in job.split),
            int(rng.integers(2**62)),
            clean=bool(rng.random() < (job.clean if job.count is None else 0.5)),
        )
        for line in lines
    ]
    return utterances if job.count else [_unhurried(u, rng) for u in utterances]


def _unhurried(utterance: Utterance, rng: np.random.Generator) -> Utterance:
    """Slow most of the shorter training lines down.

    The engines' usual pace, 17 characters a second, is that of an audio book; people who read a
    prompt in a language they learn make 9 (medians of LibriSpeech and speechocean762).
    """
    line, voice = utterance.line, utterance.voice
    if len(line.text) > 100 or rng.random() < 0.25:
        return utterance
    if rng.random() < 0.3:
        line = halting(line, rng)
    return replace(
        utterance, line=line, voice=replace(voice, speed=voice.speed * rng.uniform(0.45, 0.85))
    )


def _lines_for(seconds: float, maker: LineMaker, rng: np.random.Generator) -> list[Line]:
    lines: list[Line] = []
    expected = 0.0
    while expected < seconds:
        lines.append(maker.draw(rng))
        expected += 0.8 + 0.086 * len(lines[-1].spoken)
    return lines


def _held_out_lines(corpus: Corpus, job: Job) -> list[Line]:
    """Held-out sentences: the dev set and the two test sets have none in common with each other."""
    order = np.random.default_rng(job.seed).permutation(len(corpus.held_out))
    dev = TEST_SETS["dev-synthetic"]
    rest = order[dev:]
    # Both test sets read the same sentences where they last, so that voices are what differs.
    chosen = order[:dev] if job.split == "dev-synthetic" else rest[: job.count]
    return [corpus.held_out[int(i)] for i in chosen]


def speak(utterances: Sequence[Utterance]) -> Iterator[tuple[Utterance, Samples]]:
    """Speak all utterances in order: trimmed clean speech at 16 kHz."""
    espeak, flite, festival = _engines()
    batch = [(u.line.spoken, u.voice) for u in utterances if u.voice.engine == "festival"]
    from_festival = iter(festival.say_all(batch))
    for utterance in utterances:
        voice = utterance.voice
        if voice.engine == "festival":
            samples, rate = next(from_festival)
        else:
            engine = espeak if voice.engine == "espeak" else flite
            samples, rate = engine.say(utterance.line.spoken, voice)
        if len(samples) and np.abs(samples).max() > 1e-3:
            yield utterance, trimmed(to_rate(samples, rate, voice.shift))


def make_shard(job: Job) -> tuple[str, float]:
    """Make one shard and its manifest; returns its name and its hours."""
    job.audio.parent.mkdir(parents=True, exist_ok=True)
    partial = job.audio.with_suffix(".partial")
    rows: list[str] = []
    others: list[Samples] = []
    position = 0
    with partial.open("wb") as raw, wave.open(raw) as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for utterance, speech in speak(plan(job)):
            rng = np.random.default_rng(utterance.seed)
            heard = augment(rng, speech, others, clean=utterance.clean, narrow=job.narrow)
            others = [*others[-11:], speech]
            if len(heard) > LONGEST_SECONDS * RATE:
                continue
            pcm = (np.clip(heard, -1, 1) * 32767).astype("<i2")
            rows.append(_row(job, utterance, position, len(pcm)))
            position += len(pcm)
            file.writeframes(pcm.tobytes())
    partial.replace(job.audio)
    _write_text(job.manifest, "\n".join(rows) + "\n")
    return f"{job.split}/{job.audio.name}", position / RATE / 3600


def _row(job: Job, utterance: Utterance, start: int, count: int) -> str:
    return json.dumps(
        {
            "audio": f"{job.split}/{job.audio.name}",
            "text": utterance.line.text,
            "begin_time": start / RATE,
            "end_time": (start + count) / RATE,
            "duration": count / RATE,
            "speaker": utterance.voice.speaker,
            "kind": utterance.line.kind,
            "clean": utterance.clean,
            "source": "synthetic",
            "language": "en",
            "split": job.split,
        }
    )


def _write_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".tmp")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def gather(out: Path, split: str) -> int:
    """Write OUT/SPLIT.jsonl from the complete shards; returns the number of utterances."""
    parts = sorted((out / split).glob("shard-*.jsonl"))
    text = "".join(part.read_text("utf-8") for part in parts)
    _write_text(out / f"{split}.jsonl", text)
    return text.count("\n")


def _jobs(args: argparse.Namespace) -> list[Job]:
    def job(split: str, index: int, count: int | None) -> Job:
        reserve = tuple(args.reserve)
        fixed = Job(split, index, count, args.seed, args.out, args.texts, reserve)
        if count is not None:
            return fixed
        return replace(fixed, clean=args.clean, narrow=args.narrow, single=args.single)

    shards = round(args.hours * 3600 / SHARD_SECONDS)
    return [
        *(job(split, 0, count) for split, count in TEST_SETS.items()),
        *(job("train", index, None) for index in range(args.first_shard, shards)),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--texts", type=Path, required=True, help="folder with en-*.txt")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--hours", type=float, default=80.0, help="of training speech, from shard 0 on"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first-shard", type=int, default=0, help="skip training shards before it")
    parser.add_argument(
        "--clean", type=float, default=0.15, help="share of training utterances without effects"
    )
    parser.add_argument(
        "--narrow", type=float, default=0.15,
        help="share of the others that went through a telephone or a narrow recording",
    )  # fmt: skip
    parser.add_argument(
        "--single", type=float, default=0.0, help="share of training utterances of one word"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--reserve", type=Path, nargs="*", default=(),
        help="manifests of real speech; no six words in a row of their test texts are trained on",
    )  # fmt: skip
    args = parser.parse_args(argv)
    jobs = [job for job in _jobs(args) if not job.manifest.exists()]
    if not jobs:
        print("all shards are there already; --hours counts from shard 0", file=sys.stderr)
    started, hours = time.monotonic(), 0.0
    with ProcessPoolExecutor(args.workers) as pool:
        for done, future in enumerate(as_completed([pool.submit(make_shard, j) for j in jobs]), 1):
            name, length = future.result()
            hours += length
            rows = gather(args.out, name.split("/")[0])
            pace = hours * 3600 / (time.monotonic() - started)
            print(
                f"{name}  {done}/{len(jobs)} shards, {hours:.2f} h made, {rows} rows in the split, "
                f"{pace:.0f} s of speech per second",
                file=sys.stderr, flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()

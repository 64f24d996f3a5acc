"""Sort the shared recordings of real English speech into training, dev and test manifests.

    python real_speech.py --data ../../../shared/data --out real

Training takes permissive sources only; share-alike ones (FSDD and others) are test material.
`real-concat` joins single digits, letters, words and digit strings of training speakers to longer
utterances, because almost all short recordings there are alone in their file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import wave
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import av
import numpy as np
from effects import RATE, Samples, augment, to_rate, trimmed
from texts import cardinal, normalise

SHARE_ALIKE = ("FSDD", "Asterisk", "art4apps", "audio-cmn", "WaniKani", "Tofugu")
TRUSTED = ("corpus transcript", "test expectation", "book text")
CLIPS_PER_TEXT = 40  # wake words: few texts, hundreds of clips each
LONGEST_CLIP = 30.0
LONGEST_JOINED = 14.0
SHARD_SECONDS = 600.0
DIGITS = frozenset(cardinal(digit) for digit in range(10))
NORMAL_FORM = re.compile(r"[a-z']+(?: [a-z']+)*")

# The first key that a source begins with names its evaluation group.
_EVAL_GROUPS = {
    "Common Voice EN (re-encoded)": "commonvoice-formats",
    "Common Voice EN +": "commonvoice-noisy",
    "Common Voice": "commonvoice",
    "Earnings-22": "earnings22",
    "FLEURS": "fleurs",
    "LJ Speech": "ljspeech",
    "LibriSpeech": "librispeech",
    "LibriVox": "librivox",
    "Picovoice": "picovoice",
    "pocketsphinx": "sphinx",
    "Sphinx": "sphinx",
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, or the part of one, with its reference in the normal form."""

    audio: Path
    text: str
    duration: float
    speaker: str
    source: str
    split: str
    quality: str = ""
    begin: float | None = None
    end: float | None = None

    def row(self) -> str:
        """One manifest line."""
        times = {} if self.begin is None else {"begin_time": self.begin, "end_time": self.end}
        return json.dumps(
            {
                "audio": str(self.audio),
                "text": self.text,
                **times,
                "duration": round(self.duration, 4),
                "speaker": self.speaker,
                "source": self.source,
                "language": "en",
                "split": self.split,
            }
        )

    @property
    def share_alike(self) -> bool:
        """Whether weights trained on it would have to carry its licence."""
        return self.source.startswith(SHARE_ALIKE)


def read_clips(manifest: Path) -> Iterator[Clip]:
    """English rows of one manifest of the shared data."""
    for row in map(json.loads, manifest.read_text("utf-8").splitlines()):
        if row["language"] != "en":
            continue
        written = row.get("text_norm") or row["text"]
        text = written if NORMAL_FORM.fullmatch(written) else normalise(written)
        if text is None:
            print(f"left out, no normal form: {row['audio']}: {row['text']!r}", file=sys.stderr)
            continue
        yield Clip(
            audio=(manifest.parent / row["audio"]).resolve(),
            text=text,
            duration=row["duration"],
            speaker=row["speaker"],
            source=row["source"],
            split=row["split"],
            quality=row.get("reference_quality", ""),
        )


def _stable_order(clip: Clip) -> bytes:
    return hashlib.blake2b(clip.audio.name.encode(), digest_size=8).digest()


def capped(clips: Iterable[Clip]) -> list[Clip]:
    """At most `CLIPS_PER_TEXT` clips of each text, chosen by a hash of the file name."""
    seen: Counter[str] = Counter()
    kept = []
    for clip in sorted(clips, key=_stable_order):
        seen[clip.text] += 1
        if seen[clip.text] <= CLIPS_PER_TEXT:
            kept.append(clip)
    return sorted(kept, key=lambda clip: str(clip.audio))


def eval_group(clip: Clip) -> str:
    """Name of the evaluation group of a clip; whole long recordings are a group of their own."""
    if clip.duration > LONGEST_CLIP:
        return "long"
    for start, group in _EVAL_GROUPS.items():
        if clip.source.startswith(start):
            return group
    return "-".join(clip.source.lower().replace(":", " ").split()[:2])


def manifests(data: Path) -> dict[str, list[Clip]]:
    """All manifests by name, without the joined utterances."""
    digits = list(read_clips(data / "digits" / "manifest.jsonl"))
    other = list(read_clips(data / "commands_and_sentences" / "manifest.jsonl"))
    free = [clip for clip in digits + other if not clip.share_alike]

    def test(clips: Sequence[Clip], source: str) -> list[Clip]:
        return [c for c in clips if c.split == "test" and c.source.startswith(source)]

    sets = {
        "real-train": capped(clip for clip in free if clip.split == "train"),
        "real-dev": [clip for clip in free if clip.split == "dev"],
        "test-digits-speechocean": test(digits, "speechocean"),
        "test-sentences-speechocean": test(other, "speechocean"),
        "test-librispeech-chapter": test(other, "LibriSpeech"),
        "test-commonvoice-en": test(other, "Common Voice"),
        "test-fsdd": test(digits, "FSDD"),
    }
    for clip in read_clips(data / "eval" / "manifest.jsonl"):
        if clip.quality.startswith(TRUSTED):
            sets.setdefault(f"test-eval-{eval_group(clip)}", []).append(clip)
    _check(sets)
    return sets


def _check(sets: dict[str, list[Clip]]) -> None:
    """Stop if a speaker or a recording of a test or dev set is in training."""
    train = sets["real-train"]
    files = {clip.audio for clip in train}
    speakers = {clip.speaker for clip in train}
    for name, clips in sets.items():
        if name == "real-train":
            continue
        shared = {c.speaker for c in clips} & speakers or {c.audio for c in clips} & files
        if shared:
            raise SystemExit(f"{name} shares {sorted(map(str, shared))[:3]} with real-train")


# --- joined utterances -----------------------------------------------------------------------


@cache
def decode(path: Path) -> Samples:
    """Read a recording as 16 kHz mono float32."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Items:
    """Short recordings of training speakers: kind, then text, then its clips."""

    digits: dict[str, list[Clip]]
    letters: dict[str, list[Clip]]
    words: dict[str, list[Clip]]

    @classmethod
    def sort(cls, clips: Iterable[Clip]) -> Items:
        """Keep digit strings, single letters and utterances of at most three words."""
        sorts: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
        for clip in sorted(clips, key=lambda clip: str(clip.audio)):
            words = clip.text.split()
            if all(word in DIGITS for word in words):
                sorts["digits"][clip.text].append(clip)
            elif len(words) == 1 and len(words[0]) == 1:
                sorts["letters"][clip.text].append(clip)
            elif len(words) <= 3 and clip.duration < 3:
                sorts["words"][clip.text].append(clip)
        return cls(sorts["digits"], sorts["letters"], sorts["words"])

    def draw(self, rng: np.random.Generator) -> list[Clip]:
        """Two to eight clips, mostly of one kind; every text of a kind is equally likely."""
        mark = rng.random()
        if mark < 0.55:
            kinds = [self.digits]
        elif mark < 0.7:
            kinds = [self.letters]
        elif mark < 0.8:
            kinds = [self.letters, self.digits]
        elif mark < 0.95:
            kinds = [self.words]
        else:
            kinds = [self.words, self.digits]
        kinds = [kind for kind in kinds if kind]
        count = int(rng.integers(2, 9)) if kinds else 0
        return [self._one(kinds[int(rng.integers(len(kinds)))], rng) for _ in range(count)]

    @staticmethod
    def _one(kind: dict[str, list[Clip]], rng: np.random.Generator) -> Clip:
        texts = list(kind)
        # Single digits are few clips against many digit strings: they get half of the draws.
        single = [text for text in texts if " " not in text]
        if single and rng.random() < 0.5:
            texts = single
        clips = kind[texts[int(rng.integers(len(texts)))]]
        return clips[int(rng.integers(len(clips)))]


def join(clips: Sequence[Clip], rng: np.random.Generator) -> Samples:
    """Play the clips one after the other with gaps of 0.05 to 0.5 s, each a little changed."""
    parts: list[Samples] = []
    for clip in clips:
        shift = float(rng.uniform(0.88, 1.12))
        samples = trimmed(to_rate(decode(clip.audio), RATE, shift), threshold=0.03)
        level = rng.uniform(0.05, 0.12) / (np.sqrt(np.mean(np.square(samples))) + 1e-6)
        gap = np.zeros(int(rng.uniform(0.05, 0.5) * RATE), np.float32)
        parts += [np.asarray(samples * level, np.float32), gap]
    return np.concatenate(parts[:-1])


def make_concat(clips: Iterable[Clip], out: Path, hours: float, seed: int) -> list[Clip]:
    """Write OUT/real-concat/shard-00000.wav and so on; returns the joined utterances."""
    items = Items.sort(clips)
    folder = out / "real-concat"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Clip] = []
    for index in range(max(round(hours * 3600 / SHARD_SECONDS), 1)):
        rng = np.random.default_rng([seed, index])
        path = folder / f"shard-{index:05d}.wav"
        partial = path.with_suffix(".partial")
        others: list[Samples] = []
        position = 0
        with partial.open("wb") as raw, wave.open(raw) as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            while position < SHARD_SECONDS * RATE:
                chosen = items.draw(rng)
                while sum(clip.duration for clip in chosen) > LONGEST_JOINED - 3:
                    chosen = chosen[:-1]
                if len(chosen) < 2:
                    continue
                joined = join(chosen, rng)
                heard = augment(rng, joined, others, clean=bool(rng.random() < 0.4))
                others = [*others[-11:], joined]
                pcm = (np.clip(heard, -1, 1) * 32767).astype("<i2")
                file.writeframes(pcm.tobytes())
                rows.append(
                    replace(
                        chosen[0],
                        audio=Path("real-concat") / path.name,
                        text=" ".join(clip.text for clip in chosen),
                        duration=len(pcm) / RATE,
                        speaker="+".join(sorted({clip.speaker for clip in chosen})),
                        source="joined: " + ", ".join(sorted({clip.source for clip in chosen})),
                        begin=position / RATE,
                        end=(position + len(pcm)) / RATE,
                    )
                )
                position += len(pcm)
        partial.replace(path)
        print(f"real-concat/{path.name}: {len(rows)} utterances so far", file=sys.stderr)
    return rows


def write(path: Path, clips: Iterable[Clip]) -> None:
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(clip.row() + "\n" for clip in clips), "utf-8")
    partial.replace(path)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the shared recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--concat-hours", type=float, default=3.0, help="0 makes none")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    if not (args.data / "digits" / "manifest.jsonl").is_file():
        raise SystemExit(f"{args.data} has no digits/manifest.jsonl: give another --data")
    args.out.mkdir(parents=True, exist_ok=True)
    sets = manifests(args.data)
    for name, clips in sets.items():
        write(args.out / f"{name}.jsonl", clips)
        hours = sum(clip.duration for clip in clips) / 3600
        print(f"{name:32} {len(clips):6} clips {hours:7.3f} h", file=sys.stderr)
    if args.concat_hours > 0:
        digits = read_clips(args.data / "digits" / "manifest.jsonl")
        other = read_clips(args.data / "commands_and_sentences" / "manifest.jsonl")
        free = [c for c in (*digits, *other) if c.split == "train" and not c.share_alike]
        joined = make_concat(free, args.out, args.concat_hours, args.seed)
        write(args.out / "real-concat.jsonl", joined)


if __name__ == "__main__":
    main()

"""Short real recordings joined to longer utterances, with a manifest row for each."""

from __future__ import annotations

import sys
import wave
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import av
import numpy as np
from clips import Clip
from effects import RATE, Samples, augment, to_rate, trimmed
from texts import cardinal

LONGEST_JOINED = 14.0
SHARD_SECONDS = 600.0
DIGITS = frozenset(cardinal(digit) for digit in range(10))


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

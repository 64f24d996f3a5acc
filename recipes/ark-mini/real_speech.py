"""Sort the shared recordings of real English speech into training, dev and test manifests.

    python real_speech.py --data ../../../shared/data --out real

Training takes permissive sources only; share-alike ones (FSDD and others) are test material.
`real-concat` joins single digits, letters, words and digit strings of training speakers to longer
utterances, because almost all short recordings there are alone in their file.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from clips import Clip, read_clips
from joined import make_concat

TRUSTED = ("corpus transcript", "test expectation", "book text")
CLIPS_PER_TEXT = 40  # wake words: few texts, hundreds of clips each
LONGEST_CLIP = 30.0

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

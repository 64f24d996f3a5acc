"""What hot words gain and what they cost: recall of rare words, and words that nobody said.

    python benchmarks/hotwords.py MODEL MANIFEST... [--limit N] [--words N] [--boosts 0.5 1 2]

Rare words are those of at least ``--letters`` letters that occur in one recording only. Those of
half of the recordings that have any are the hot words. No other recording holds a single one of
them, so there every hot word that is written was not said.

- recall: hot words written where they were said, over those said
- false: hot words written where they were not said, per 1000 words said; among
  recordings that hold hot words, and among those that hold none
- WER of both

All with a beam, without hot words (boost 0) and with each boost.
"""

from __future__ import annotations

import random
from collections import Counter

from ark_asr.decoding.beam import beam
from ark_asr.decoding.hotwords import HotWords
from transcribed import Bench, Clip, parser, wer


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--width", type=int, default=4)
    arguments.add_argument("--boosts", nargs="+", type=float, default=[0.25, 0.5, 1.0, 2.0])
    arguments.add_argument("--words", type=int, default=100, help="most hot words")
    arguments.add_argument("--letters", type=int, default=5)
    options = arguments.parse_args()
    bench = Bench(options)
    hot = choose(bench.clips, options.letters, options.words)
    holds = [bool(hot & {*clip.words}) for clip in bench.clips]
    print(f"{len(hot)} hot words in {sum(holds)} recordings, none in {len(holds) - sum(holds)}; "
          f"beam {options.width}")  # fmt: skip
    both = "{:>10.2f} / {:.2f}"
    print("\nboost    recall %         false               WER %          cost")
    plain = None
    for boost in (0.0, *options.boosts):
        words = None
        if boost:
            words = HotWords(sorted(hot), boost, bench.text, bench.engine.output_ids)
        found = bench.find(beam, width=options.width, hot_words=words)
        plain = plain or found
        pairs = list(zip(bench.clips, found.words, strict=True))
        parts = [
            [pair for pair, here in zip(pairs, holds, strict=True) if here == wanted]
            for wanted in (True, False)
        ]
        spoken = sum(count(clip.words, hot).total() for clip, _ in pairs)
        hits = sum((count(clip.words, hot) & count(said, hot)).total() for clip, said in pairs)
        false = both.format(*(1000 * inserted(part, hot) for part in parts))
        rates = both.format(*(100 * wer(*zip(*part, strict=True)) for part in parts))
        print(f"{boost:<8g}{100 * hits / spoken:>9.1f}{false:>20}{rates:>20}"
              f"{found.seconds / plain.seconds:>8.2f}")  # fmt: skip
    print("\nfalse, WER: where hot words are said / where none is said")


def choose(clips: list[Clip], letters: int, most: int) -> set[str]:
    """Rare words of about half of the recordings that hold any."""
    holders = Counter(word for clip in clips for word in {*clip.words})
    rare = [
        sorted(word for word in {*clip.words} if holders[word] == 1 and len(word) >= letters)
        for clip in clips
    ]
    chosen = [words for words in rare if words]
    random.Random(0).shuffle(chosen)
    half = [word for words in chosen[: len(chosen) // 2] for word in words]
    return {*half[:most]}


def inserted(part: list[tuple[Clip, list[str]]], hot: set[str]) -> float:
    """Hot words that were not said, per word that was."""
    false = sum((count(said, hot) - count(clip.words, hot)).total() for clip, said in part)
    return false / sum(len(clip.words) for clip, _ in part)


def count(words: list[str], hot: set[str]) -> Counter[str]:
    return Counter(word for word in words if word in hot)


if __name__ == "__main__":
    main()

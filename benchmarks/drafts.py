"""What a draft of the answer saves, and whether the answer stays the same.

    python benchmarks/drafts.py MANIFEST [--model NAME] [--split test] [--language en]

Each recording is heard as live captions hear it: the draft is what was understood of its first four
fifths. Then once more with the answer itself for a draft, the best that there can be. Encoder and
features are not timed: drafts do not change them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import takewhile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.drafts import Drafted
from ark_asr.decoding.search import greedy
from ark_asr.engines import load_model
from ark_asr.models.store import resolve
from ark_asr.types import Prompt
from mini import processor

RATE = 16_000
HEARD = 0.8
TOKENS = 150


class Ways:
    """One model; adds up the seconds of each way."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.engine, self.tokenizer = load_model(folder, threads=threads)
        self.log_mel = LogMel(self.tokenizer.features)
        self.seconds: dict[str, float] = {}

    def prompt(self, samples: np.ndarray) -> Prompt:
        (audio,) = self.engine.embed_audio([self.log_mel(samples)])
        return Prompt(self.tokenizer.prompt(len(audio)), audio)

    def answer(self, way: str, prompt: Prompt, draft=None) -> tuple[int, ...]:
        engine = self.engine if draft is None else Drafted(self.engine, list(draft))
        stop = self.tokenizer.stop_ids
        began = time.perf_counter()
        (found,) = greedy(engine, [prompt], rules=[], stop_ids=stop, max_new_tokens=TOKENS)
        self.seconds[way] = self.seconds.get(way, 0.0) + time.perf_counter() - began
        return found.token_ids


def rows(manifest: Path, wanted: dict[str, str | None]):
    """Sound of the rows that are asked for, as long as every model takes it."""
    with manifest.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if all(value in (None, row.get(key)) for key, value in wanted.items()):
                samples = load_audio(manifest.parent / row["audio"]).samples
                if RATE <= len(samples) <= 15 * RATE:
                    yield samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="ark-mini")
    parser.add_argument("--split")
    parser.add_argument("--language")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ways = Ways(resolve(options.model), options.threads)
    clips = tokens = true = 0
    same = {"four fifths": 0, "the answer itself": 0}
    for samples in rows(options.manifest, {"split": options.split, "language": options.language}):
        draft = ways.answer("", ways.prompt(samples[: round(HEARD * len(samples))]))
        whole = ways.prompt(samples)
        plain = ways.answer("no draft", whole)
        for way, known in zip(same, (draft, plain), strict=True):
            same[way] += ways.answer(way, whole, known) == plain
        clips, tokens = clips + 1, tokens + len(plain)
        pairs = zip(draft, plain, strict=False)
        true += sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    print(f"{options.model}, {clips} clips of {options.manifest}, {processor()}, "
          f"{options.threads} threads")  # fmt: skip
    print(f"no draft: {ways.seconds['no draft']:.2f} s for {tokens} tokens, prompts included")
    for way, count in same.items():
        print(f"draft of {way}: {ways.seconds[way]:.2f} s; {count} of {clips} answers are the same")
    print(f"of the drafts of four fifths {true} tokens came true, {true / tokens:.0%} of all")


if __name__ == "__main__":
    main()

"""Recordings with transcripts, embedded once, for benchmarks that search them in several ways.

A manifest holds one JSON object per line with ``audio`` (relative to the manifest), ``text`` and,
optionally, ``text_norm``, ``begin_time``, ``end_time`` and ``split``. Every recording is one clip.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.text import clean
from ark_asr.engines import load_model
from ark_asr.evaluation.machine import this_machine
from ark_asr.evaluation.text import words
from ark_asr.models.store import resolve
from ark_asr.types import FloatArray, Hypothesis, Prompt

# Text needs fewer tokens than there are audio embeddings, but short clips can hold long words.
SPARE = 16


@dataclass(frozen=True)
class Clip:
    words: list[str]
    embeddings: FloatArray


@dataclass(frozen=True)
class Found:
    """What one way of searching made of all clips, in their order.

    Attributes:
        seconds: Of processor time, for prompts and search; not the encoder. It says what the work
            is, whatever else runs on the machine.
    """

    words: list[list[str]]
    hypotheses: list[Hypothesis]
    seconds: float


class Bench:
    """A model and the recordings of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        folder = resolve(options.model)
        self.engine, self.text = load_model(folder, threads=options.threads)
        self.batch = options.batch_size
        self.rules = [SuppressIds(self.text.suppressed_ids, self.engine.output_ids)]
        rows = [row for path in options.manifests for row in read(path, options.split)]
        chosen = np.linspace(0, len(rows) - 1, min(options.limit or len(rows), len(rows)))
        self.clips = [self._clip(rows[i]) for i in chosen.astype(int)]
        # The longest together, so that padding costs every search the same, and little.
        self.clips.sort(key=lambda clip: -len(clip.embeddings))
        machine = this_machine()
        print(f"{folder.name}: {len(self.clips)} recordings of "
              f"{', '.join(path.stem for path in options.manifests)}; {machine.cpu}, "
              f"{options.threads} threads, batches of {self.batch}")  # fmt: skip

    def _clip(self, row: dict) -> Clip:
        begin, end = (row.get(key) for key in ("begin_time", "end_time"))
        begin, end = (None if at is None or at < 0 else at for at in (begin, end))
        sound = load_audio(row["path"], begin=begin, end=end).samples
        mel = LogMel(self.text.features)(sound[: self.text.features.clip_samples])
        return Clip(words(row.get("text_norm") or row["text"]), self.engine.embed_audio([mel])[0])

    def find(
        self,
        search: Callable[..., list[Hypothesis]],
        *,
        instruction: str | None = None,
        **settings,
    ) -> Found:
        """All clips through ``search``, which is `greedy` or `beam`."""
        hypotheses = []
        start = time.process_time()
        for first in range(0, len(self.clips), self.batch):
            audio = [clip.embeddings for clip in self.clips[first : first + self.batch]]
            hypotheses += search(
                self.engine,
                [Prompt(self.text.prompt(len(one), instruction), one) for one in audio],
                rules=self.rules,
                stop_ids=self.text.stop_ids,
                max_new_tokens=[len(one) + SPARE for one in audio],
                **settings,
            )
        seconds = time.process_time() - start
        texts = [words(clean(self.text.decode(found.token_ids))) for found in hypotheses]
        return Found(texts, hypotheses, seconds)


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("model", help="name or folder")
    made.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST")
    made.add_argument("--limit", type=int, help="recordings, evenly spaced; default: all")
    made.add_argument("--split", help="only rows of this split")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--batch-size", type=int, default=8)
    return made


def read(manifest: Path, split: str | None) -> list[dict]:
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [
        row | {"path": manifest.parent / row["audio"]}
        for row in rows
        if split is None or row.get("split") == split
    ]


def distance(a: list[str], b: list[str]) -> int:
    """Words to insert, delete or replace."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def wer(clips: list[Clip], found: list[list[str]]) -> float:
    errors = sum(distance(clip.words, said) for clip, said in zip(clips, found, strict=True))
    return errors / sum(len(clip.words) for clip in clips)

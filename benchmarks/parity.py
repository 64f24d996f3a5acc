"""How far the packages of a checkpoint are from the checkpoint, on recordings with transcripts.

    python benchmarks/parity.py CHECKPOINT MANIFEST... [--limit N] [--split NAME]

Every recording is one clip. For the fp32 and int8 packages, against PyTorch in fp32: the largest
error of an audio embedding and of a first logit, the recordings with exactly the same greedy
tokens, and the word error rate of each. A manifest holds one JSON object per line with ``audio``
(relative to the manifest), ``text`` and, optionally, ``begin_time``, ``end_time`` and ``split``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.engines.base import Engine
from ark_asr.engines.ort import OnnxEngine
from ark_asr.engines.torch import TorchEngine
from ark_asr.graphs.convert import build_package
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import FloatArray, Prompt

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST")
    parser.add_argument("--limit", type=int, default=100, help="recordings, evenly spaced")
    parser.add_argument("--split", help="only rows of this split")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    tokenizer = Tokenizer.load(options.checkpoint)
    rows = [row for path in options.manifests for row in read(path, options.split)]
    rows = [
        rows[i] for i in np.linspace(0, len(rows) - 1, min(options.limit, len(rows))).astype(int)
    ]
    mels = features(tokenizer, rows)
    print(f"{options.checkpoint.resolve().name}: {len(rows)} recordings of "
          f"{', '.join(path.stem for path in options.manifests)}\n")  # fmt: skip
    reference = Heard(
        TorchEngine.load(options.checkpoint, threads=options.threads), tokenizer, mels
    )
    print(f"{'engine':<8}{'embeddings':>12}{'logits':>10}{'same tokens':>13}"
          f"{'WER %':>8}{'errors':>13}")  # fmt: skip
    report("torch", reference, reference, rows)
    with tempfile.TemporaryDirectory() as made:
        for precision in ("fp32", "int8"):
            folder = Path(made) / precision
            build_package(options.checkpoint, folder, precision=precision)
            engine = OnnxEngine.load(folder, threads=options.threads)
            report(precision, Heard(engine, tokenizer, mels), reference, rows)
    print("\nembeddings and logits: largest absolute error against PyTorch fp32")


class Heard:
    """All that one engine makes of the recordings."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, mels: list[FloatArray]) -> None:
        self.audio: list[FloatArray] = []
        self.logits: list[FloatArray] = []
        self.tokens: list[tuple[int, ...]] = []
        rules = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]
        for first in range(0, len(mels), BATCH):
            audio = engine.embed_audio(mels[first : first + BATCH])
            prompts = [Prompt(tokenizer.prompt(len(a)), a) for a in audio]
            self.audio += audio
            self.logits += list(engine.start(prompts, 1).logits.copy())
            limits = [len(a) + 16 for a in audio]
            found = greedy(
                engine, prompts, rules=rules, stop_ids=tokenizer.stop_ids, max_new_tokens=limits
            )
            self.tokens += [hypothesis.token_ids for hypothesis in found]
        self.texts = [clean(tokenizer.decode(tokens)) for tokens in self.tokens]


def report(name: str, heard: Heard, reference: Heard, rows: list[dict]) -> None:
    embeddings, logits = (
        max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in ((heard.audio, reference.audio), (heard.logits, reference.logits))
    )
    same = sum(a == b for a, b in zip(heard.tokens, reference.tokens, strict=True))
    errors = words = 0
    for row, text in zip(rows, heard.texts, strict=True):
        wanted = plain(row["text"])
        errors += distance(wanted, plain(text))
        words += len(wanted)
    print(f"{name:<8}{embeddings:>12.1e}{logits:>10.1e}{f'{same}/{len(rows)}':>13}"
          f"{100 * errors / words:>8.2f}{f'{errors}/{words}':>13}")  # fmt: skip


def read(manifest: Path, split: str | None) -> Iterator[dict]:
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if split is None or row.get("split") == split:
            yield row | {"path": manifest.parent / row["audio"]}


def features(tokenizer: Tokenizer, rows: list[dict]) -> list[FloatArray]:
    log_mel = LogMel(tokenizer.config.features)
    mels = []
    for row in rows:
        begin, end = (row.get(key) for key in ("begin_time", "end_time"))
        begin, end = (None if at is None or at < 0 else at for at in (begin, end))
        sound = load_audio(row["path"], begin=begin, end=end).samples
        mels.append(log_mel(sound[: tokenizer.config.features.clip_samples]))
    return mels


def plain(text: str) -> list[str]:
    kept = (letter if letter.isalnum() or letter == "'" else " " for letter in text.lower())
    return "".join(kept).split()


def distance(a: list[str], b: list[str]) -> int:
    """Words to insert, delete or replace."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


if __name__ == "__main__":
    main()

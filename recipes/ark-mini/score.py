"""Word error rates of a model on test manifests: the table of the model card.

    python score.py MODEL MANIFEST... [--beams N] [--json out.json] [--pipeline]

Clips are decoded alone, as the trainer's dev sets are; ``--pipeline`` walks the whole road (voice
activity, cuts), which recordings longer than the model's clip need.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from functools import partial
from pathlib import Path

from ark_asr import load
from ark_asr.decoding.beam import beam
from ark_asr.decoding.search import greedy
from ark_asr.engines import load_engine
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.rows import Row, read_manifest
from ark_asr.training.validate import Score, score, transcribe_rows
from ark_asr.types import TranscribeOptions


def transcribe_whole(model: str, rows: list[Row], beams: int) -> list[str]:
    """Transcripts by the pipeline, one recording after the other."""
    texts = []
    with load(model) as recognizer:
        for row in rows:
            options = TranscribeOptions(begin=row.begin or None, end=row.end, beam_size=beams)
            texts.append(recognizer.transcribe(row.audio, options).text)
    return texts


def by_voice(manifest: Path, found: Score) -> dict[str, Score]:
    """Scores per engine of a synthetic set, whose speakers are called ``engine:voice``."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines() if line.strip()]
    groups = defaultdict(list)
    for row, pair in zip(rows, found.pairs, strict=True):
        groups[row.get("speaker", "").partition(":")[0]].append(pair)
    return {name: score(*zip(*pairs, strict=True)) for name, pairs in sorted(groups.items())}


def line(name: str, found: Score) -> str:
    """One row of the table."""
    rate = f"{100 * found.wer:.1f}" if found.words else "-"
    return f"| {name} | {rate} | {found.errors} / {found.words} | {found.clips} |"


def main() -> None:
    """Print the table; write all pairs as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--beams", type=int, default=1, metavar="N", help="1: greedy")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pipeline", action="store_true")
    args = parser.parse_args()
    found = resolve(args.model)
    engine = None if args.pipeline else load_engine(found)
    tokenizer = Tokenizer.load(found.path)
    report = {}
    print("| set | WER % | errors / words | clips |\n| --- | ---: | ---: | ---: |")
    for manifest in args.manifests:
        rows = read_manifest(manifest)
        if engine is None:
            texts = transcribe_whole(args.model, rows, args.beams)
        else:
            search = partial(beam, width=args.beams) if args.beams > 1 else greedy
            texts = transcribe_rows(engine, tokenizer, rows, search=search)
        result = score([row.text for row in rows], texts)
        print(line(manifest.stem, result), flush=True)
        if "voices" in manifest.stem:
            for name, part in by_voice(manifest, result).items():
                print(line(f"&nbsp;&nbsp;of which {name}", part))
        report[manifest.stem] = {"errors": result.errors, "words": result.words,
                                 "clips": result.clips, "pairs": result.pairs}  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""Word error rates of the rows on test sets, with intervals and paired differences, as a table.

    python table.py --work ../../runs/distill-mini TEST.jsonl... --out table.md

Intervals are 95 % by bootstrap over utterances (Bisani and Ney, 2004); a paired difference draws
the same utterances for both rows. All seeds that are there are taken together: their errors are
summed per utterance. Recordings longer than the model's clip walk the whole road, with its cuts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import jiwer
import torch

from ark_asr import load
from ark_asr.engines.torch import TorchEngine
from ark_asr.evaluation.intervals import difference, interval
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.data import Row, read_manifest
from ark_asr.training.validate import plain, transcribe_rows
from ark_asr.types import TranscribeOptions

NAMES = {"trunk": "(trunk)", "base": "Base", "opd": "Base + OPD", "td": "Base + TD",
         "td+opd": "Base + TD + OPD", "teacher": "(teacher)"}  # fmt: skip


def transcripts(model: Path, rows: list[Row]) -> list[str]:
    """What a checkpoint writes; whole recordings are cut first, clips are decoded as they are."""
    tokenizer = Tokenizer.load(model)
    features = tokenizer.config.features
    if max(row.seconds for row in rows) * features.sample_rate <= features.clip_samples:
        return transcribe_rows(TorchEngine.load(model), tokenizer, rows)
    with load(model, engine="torch", threads=1) as recognizer:
        options = [TranscribeOptions(begin=row.begin or None, end=row.end) for row in rows]
        whole = zip(rows, options, strict=True)
        return [recognizer.transcribe(row.audio, how).text for row, how in whole]


def errors(rows: list[Row], model: Path) -> tuple[list[int], Counter[str]]:
    """Word errors of a checkpoint, per utterance, and how many there are of each kind."""
    torch.set_num_threads(1)
    found, kinds = [], Counter[str]()
    for row, text in zip(rows, transcripts(model, rows), strict=True):
        said = jiwer.process_words(plain(row.text), plain(text))
        wrong = Counter(
            {"wrong": said.substitutions, "missing": said.deletions, "too many": said.insertions}
        )
        kinds.update(wrong, right=said.hits)
        found.append(wrong.total())
    return found, kinds


def cell(found: list[int], words: list[int]) -> str:
    """A rate and its interval in percent."""
    between = interval(found, words)
    rate = f"{100 * sum(found) / sum(words):.1f}"
    return f"{rate} ({100 * between.low:.1f} to {100 * between.high:.1f})" if between else rate


def main() -> None:
    """Score everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=list(NAMES), help="in the table, in order")
    parser.add_argument("--pairs", nargs="+", default=["base:opd", "base:td", "base:td+opd",
                        "td:td+opd", "opd:td+opd"], metavar="A:B")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="models that are scored at once")
    parser.add_argument("--limit", type=int, default=0, help="utterances per set; 0 for all")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    seeds = sorted(args.work.glob("seed-*"))
    models = {
        row: [args.work / "teacher"] if row == "teacher"
        else [seed / row / "best" for seed in seeds if (seed / row / "best").is_dir()]
        for row in args.rows
    }  # fmt: skip
    models = {row: folders for row, folders in models.items() if folders}
    sets = {path.stem: read_manifest(path) for path in args.tests}
    if args.limit:
        sets = {name: rows[: args.limit] for name, rows in sets.items()}
    sets = {name: [row for row in rows if plain(row.text)] for name, rows in sets.items()}
    words, found = {}, {}
    everything = [folder for folders in models.values() for folder in folders]
    with ProcessPoolExecutor(args.workers) as pool:
        for name, rows in sets.items():
            scored = dict(zip(everything, pool.map(partial(errors, rows), everything), strict=True))
            for row, folders in models.items():
                of_seeds = [scored[folder][0] for folder in folders]
                found[row, name] = [sum(of_clip) for of_clip in zip(*of_seeds, strict=True)]
                words[row, name] = [len(folders) * len(plain(r.text).split()) for r in rows]
                kinds = sum((scored[folder][1] for folder in folders), Counter[str]())
                rate = cell(found[row, name], words[row, name])
                print(f"{name}  {row}: {rate}  {dict(kinds)}", flush=True)
    if len(sets) > 1:
        for row in models:
            for of_set in (found, words):
                of_set[row, "all"] = [n for name in sets for n in of_set[row, name]]
    columns = [*sets, *(["all"] if len(sets) > 1 else [])]

    lines = [f"| WER % (95 % interval) | seeds | {' | '.join(columns)} |",
             "| --- | ---: |" + " ---: |" * len(columns)]  # fmt: skip
    for row, folders in models.items():
        cells = [cell(found[row, name], words[row, name]) for name in columns]
        lines.append(f"| {NAMES.get(row, row)} | {len(folders)} | {' | '.join(cells)} |")
    lines += ["", f"| difference in points, paired | {' | '.join(columns)} |",
              "| --- |" + " ---: |" * len(columns)]  # fmt: skip
    for first, second in (pair.split(":") for pair in args.pairs):
        if {first, second} <= models.keys() and len(models[first]) == len(models[second]):
            cells = []
            for name in columns:
                way = difference(found[first, name], found[second, name], words[first, name])
                cells.append(
                    f"{100 * way.difference:+.1f} ({100 * way.interval.low:+.1f} to "
                    f"{100 * way.interval.high:+.1f})" if way else "-"
                )  # fmt: skip
            title = f"{NAMES.get(second, second)} - {NAMES.get(first, first)}"
            lines.append(f"| {title} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)
        report = [{"row": row, "set": name, "errors": found[row, name], "words": words[row, name]}
                  for row, name in found]  # fmt: skip
        args.out.with_suffix(".json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()

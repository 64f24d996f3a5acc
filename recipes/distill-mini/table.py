"""Word error rates of the rows on test sets, with intervals and paired differences, as a table.

    python table.py --work ../../runs/distill-mini TEST.jsonl... --out table.md

Intervals are 95 % by bootstrap over utterances (Bisani and Ney, 2004); a paired difference draws
the same utterances for both rows. All seeds that are there are taken together: their errors are
summed per utterance. A set with recordings longer than the model's clip walks the whole road, with
its cuts and guards; the others are decoded clip by clip.
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
from ark_asr.training.rows import Row, read_manifest
from ark_asr.training.validate import plain, transcribe_rows
from ark_asr.types import TranscribeOptions

NAMES = {"trunk": "(trunk)", "base": "Base", "opd": "Base + OPD", "td": "Base + TD",
         "td+opd": "Base + TD + OPD", "truth": "(TD, true texts)",
         "teacher": "(teacher)"}  # fmt: skip

Counts = dict[tuple[str, str], list[int]]  # by row and set, of each utterance


def transcripts(model: Path, rows: list[Row]) -> list[str]:
    """What a checkpoint writes: by the whole road if one recording is too long for a clip."""
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


def score(
    models: dict[str, list[Path]], sets: dict[str, list[Row]], workers: int
) -> tuple[Counts, Counts]:
    """Word errors and words of each row in each set, per utterance, all seeds together."""
    found, words = Counts(), Counts()
    everything = [folder for folders in models.values() for folder in folders]
    with ProcessPoolExecutor(workers) as pool:
        for name, rows in sets.items():
            scored = dict(zip(everything, pool.map(partial(errors, rows), everything), strict=True))
            for row, folders in models.items():
                of_seeds = [scored[folder][0] for folder in folders]
                found[row, name] = [sum(of_clip) for of_clip in zip(*of_seeds, strict=True)]
                words[row, name] = [len(folders) * len(plain(r.text).split()) for r in rows]
                kinds = sum((scored[folder][1] for folder in folders), Counter[str]())
                rate = cell(found[row, name], words[row, name])
                print(f"{name}  {row}: {rate}  {dict(kinds)}", flush=True)
    return found, words


def tables(
    seeds: dict[str, int], sets: list[str], pairs: list[str], found: Counts, words: Counts
) -> str:
    """Rates, and differences in pairs; the sets are the lines, for there may be many."""
    titles = [f"{NAMES.get(row, row)}" for row in seeds]
    lines = [f"| WER % (95 % interval) | words | {' | '.join(titles)} |",
             "| --- | ---: |" + " ---: |" * len(titles)]  # fmt: skip
    for name in sets:
        cells = [cell(found[row, name], words[row, name]) for row in seeds]
        first = next(iter(seeds))
        said = sum(words[first, name]) // seeds[first]
        lines.append(f"| {name} | {said:,} | {' | '.join(cells)} |")
    lines.append(f"| seeds | | {' | '.join(str(count) for count in seeds.values())} |")
    compared = [
        (first, second) for first, second in (pair.split(":") for pair in pairs)
        if seeds.get(first, 0) == seeds.get(second, -1)
    ]  # fmt: skip
    titles = [f"{NAMES.get(second, second)} - {NAMES.get(first, first)}"
              for first, second in compared]  # fmt: skip
    lines += ["", f"| difference in points, paired | {' | '.join(titles)} |",
              "| --- |" + " ---: |" * len(titles)]  # fmt: skip
    for name in sets:
        cells = [between(found[a, name], found[b, name], words[a, name]) for a, b in compared]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def between(first: list[int], second: list[int], words: list[int]) -> str:
    """How many points the second is above the first, and the interval of that."""
    way = difference(first, second, words)
    if way is None:
        return "-"
    low, high = 100 * way.interval.low, 100 * way.interval.high
    return f"{100 * way.difference:+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    """Score everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=list(NAMES), help="in the table, in order")
    parser.add_argument("--pairs", nargs="+", default=["base:opd", "base:td", "base:td+opd",
                        "td:td+opd", "opd:td+opd", "truth:td"], metavar="A:B")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", help="in the table; all that are there")
    parser.add_argument("--workers", type=int, default=2, help="models that are scored at once")
    parser.add_argument("--limit", type=int, default=0, help="utterances per set; 0 for all")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", nargs="+", metavar="ROW",
                        help="score only these; the others stand beside --out")  # fmt: skip
    args = parser.parse_args()
    if args.again is not None and not args.out:
        parser.error("--again needs --out, where the other rows stand")

    seeds = sorted(args.work.glob("seed-*"))
    if args.seeds:
        seeds = [args.work / f"seed-{seed}" for seed in args.seeds]
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
    anew = models if args.again is None else {row: models[row] for row in args.again}
    found, words = score(anew, sets, args.workers)
    if args.again is not None:
        for one in json.loads(args.out.with_suffix(".json").read_text()):
            found.setdefault((one["row"], one["set"]), one["errors"])
            words.setdefault((one["row"], one["set"]), one["words"])
    if len(sets) > 1:
        for row in models:
            for of_set in (found, words):
                of_set[row, "all"] = [n for name in sets for n in of_set[row, name]]
    named = [*sets, *(["all"] if len(sets) > 1 else [])]
    counts = {row: len(folders) for row, folders in models.items()}
    text = tables(counts, named, args.pairs, found, words)
    print(text)
    if args.out:
        args.out.write_text(text)
        report = [{"row": row, "set": name, "errors": found[row, name], "words": words[row, name]}
                  for row, name in found]  # fmt: skip
        args.out.with_suffix(".json").write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()

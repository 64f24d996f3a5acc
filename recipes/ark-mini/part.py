"""Part of a manifest, beside it: the rows of some shards, or some rows drawn at random.

    python part.py speech/train.jsonl new --shards 770 1053
    python part.py speech/train-new.jsonl some --rows 9000

Writes speech/train-new.jsonl and speech/train-new-some.jsonl; the rows stay as they were.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path


def shard(row: str) -> int:
    """The number in a row's file name, ``train/shard-00770.wav``; -1 if there is none."""
    found = re.search(r"shard-(\d+)\.", str(json.loads(row)["audio"]))
    return int(found[1]) if found else -1


def part(
    rows: list[str], shards: tuple[int, int] | None, count: int | None, seed: int
) -> list[str]:
    """Rows of the shards, first and last included; of those ``count`` drawn, in old order."""
    if shards is not None:
        rows = [row for row in rows if shards[0] <= shard(row) <= shards[1]]
    if count is not None and count < len(rows):
        rows = [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), count))]
    return rows


def main() -> None:
    """Write one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("name", help="of the part: MANIFEST-NAME.jsonl")
    parser.add_argument("--shards", type=int, nargs=2, metavar=("FIRST", "LAST"))
    parser.add_argument("--rows", type=int, metavar="N", help="drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    lines = [line for line in args.manifest.read_text("utf-8").splitlines() if line.strip()]
    rows = part(lines, args.shards, args.rows, args.seed)
    if not rows:
        parser.error(f"{args.manifest} has no row of these")
    target = args.manifest.with_name(f"{args.manifest.stem}-{args.name}.jsonl")
    partial = target.with_suffix(".partial")
    partial.write_text("".join(f"{row}\n" for row in rows), "utf-8")
    partial.replace(target)
    hours = sum(json.loads(row)["duration"] for row in rows) / 3600
    print(f"{target}: {len(rows)} rows, {hours:.1f} h")


if __name__ == "__main__":
    main()

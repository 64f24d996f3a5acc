"""Cut a manifest into train, dev and test, the same way each time.

    python recipes/adapt/split.py ALL.jsonl FOLDER [--only speaker=NAME] [--dev 0.1] [--test 0.1]

Rows of one recording stay together (``--group audio``), so that what is scored was not heard in
training; for many short files of one voice say ``--group text``: then no sentence is in two sets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path


def share(text: str) -> float:
    """A number from 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--group", default="audio", help="rows with the same value stay together")
    parser.add_argument("--dev", type=float, default=0.1)
    parser.add_argument("--test", type=float, default=0.1)
    args = parser.parse_args()
    wanted = dict(item.split("=", 1) for item in args.only)
    sets: dict[str, list[dict]] = {"train": [], "dev": [], "test": []}
    for line in args.manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if any(str(row.get(key)) != value for key, value in wanted.items()):
            continue
        place = share(str(row[args.group]))
        name = "dev" if place < args.dev else "test" if place < args.dev + args.test else "train"
        row["audio"] = os.path.relpath(args.manifest.parent / row["audio"], args.folder)
        sets[name].append(row)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (args.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        seconds = sum(float(row.get("duration", 0)) for row in rows)
        print(f"{name}.jsonl: {len(rows)} rows, {seconds / 60:.1f} min")


if __name__ == "__main__":
    main()

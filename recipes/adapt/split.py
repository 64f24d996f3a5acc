"""Cut a manifest into train, dev and test, the same way each time.

    python recipes/adapt/split.py ALL.jsonl FOLDER [--only speaker=NAME] [--dev 0.1] [--test 0.1]

Rows of one recording stay together (``--group audio``), so that what is scored was not heard in
training; for many short files of one voice say ``--group text``: then no sentence is in two sets.
"""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

from ark_asr.audio import open_audio
from ark_asr.errors import ArkError


def share(text: str) -> float:
    """A number from 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def read(manifest: Path, group: str, wanted: dict[str, str]) -> list[dict]:
    """The rows that are wanted; a line that is none ends the program by its number."""
    rows = []
    lines = manifest.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if all(str(row.get(key)) == value for key, value in wanted.items()):
                rows.append({**row, "audio": row["audio"], group: row[group]})
        except (ValueError, TypeError, AttributeError):
            sys.exit(f"{manifest}:{number}: not a JSON object")
        except KeyError as error:
            sys.exit(f"{manifest}:{number}: has no {error}")
    return rows


def divide(groups: set[str], shares: dict[str, float]) -> dict[str, str]:
    """The set of each group: by its hash, but of few groups one for each set at least."""
    order = sorted(groups, key=share)
    sets = {}
    for group in order:
        place, above = share(group), 0.0
        sets[group] = "train"
        for name, size in shares.items():
            if above <= place < above + size:
                sets[group] = name
            above += size
    wanted = ["train", *(name for name, size in shares.items() if size)]
    for name in wanted:
        counts = Counter(sets.values())
        most = max(wanted, key=lambda one: counts[one])
        if not counts[name] and counts[most] > 1:
            sets[next(group for group in order if sets[group] == most)] = name
    return sets


def seconds_of(row: dict) -> float:
    """How long a row is, as far as it says so."""
    begin, end = (float(row.get(key) or 0) for key in ("begin_time", "end_time"))
    return end - max(begin, 0.0) if end > begin else float(row.get("duration") or 0)


def measure(row: dict, path: Path) -> None:
    """Give a row that says nothing of times the length of its recording; training needs it."""
    if any(row.get(key) is not None for key in ("begin_time", "end_time", "duration")):
        return
    try:
        sound = open_audio(path)
    except ArkError as error:
        sys.exit(str(error))
    sound.close()
    if sound.duration is None:
        sys.exit(f"{path}: does not say how long it is; write its duration into the row")
    row["duration"] = round(sound.duration, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--group", default="audio", help="rows with the same value stay together")
    parser.add_argument("--dev", type=float, default=0.1)
    parser.add_argument("--test", type=float, default=0.1)
    args = parser.parse_args()
    if wrong := [item for item in args.only if "=" not in item]:
        parser.error(f"--only {wrong[0]}: must be like speaker=NAME")
    if not (args.dev >= 0 and args.test >= 0 and args.dev + args.test < 1):
        parser.error("--dev and --test are shares that leave something for train")
    rows = read(args.manifest, args.group, dict(item.split("=", 1) for item in args.only))
    found = divide({str(row[args.group]) for row in rows}, {"dev": args.dev, "test": args.test})
    wanted = {"train": 1.0, "dev": args.dev, "test": args.test}
    sets: dict[str, list[dict]] = {name: [] for name in wanted}
    for row in rows:
        sets[found[str(row[args.group])]].append(row)
    if lacking := [name for name, size in wanted.items() if size and not sets[name]]:
        sys.exit(
            f"{args.manifest}: {len(rows)} rows with {len(found)} different {args.group}: too few "
            f"for {' and '.join(lacking)}; say another --group, such as text"
        )
    for row in rows:
        if "://" not in row["audio"]:
            path = args.manifest.parent / row["audio"]
            measure(row, path)
            row["audio"] = os.path.relpath(path, args.folder)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in sets.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        (args.folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}.jsonl: {len(chosen)} rows, {sum(map(seconds_of, chosen)) / 60:.1f} min")


if __name__ == "__main__":
    main()

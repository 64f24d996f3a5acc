"""One row of the table, from the trunk to a scored student.

    python run.py trunk --work ../../runs/distill-mini
    python run.py td+opd --work ../../runs/distill-mini --updates 300
    python run.py opd --work ... --name opd-k4 --set distill.top_k=4          # an ablation

A row that exists already is gone on with, or left alone if it is finished.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LABELLED, TEACHER_DATA, OTHER = "labelled.jsonl", "teacher-data.jsonl", "unlabelled.jsonl"


@dataclass(frozen=True)
class Stage:
    """One recipe of a row.

    Attributes:
        verb: Of ``ark-asr train``.
        recipe: Beside this file.
        manifests: In the work folder.
        share: Of the row's updates.
    """

    verb: str
    recipe: str
    manifests: tuple[str, ...]
    share: float = 1.0


TRUNK = Stage("supervised", "trunk.toml", (LABELLED,))
# Rows of one method hear the same sound, so that what differs is who says what is right.
BASE = Stage("supervised", "supervised.toml", (LABELLED,))
OPD = Stage("distill", "opd.toml", (LABELLED,))
TD = Stage("supervised", "supervised.toml", (TEACHER_DATA,))
TRUTH = Stage("supervised", "supervised.toml", (OTHER,))  # TD with what was really said
HALF_TD = Stage("supervised", "supervised.toml", (TEACHER_DATA,), 0.5)
HALF_OPD = Stage("distill", "opd.toml", (TEACHER_DATA,), 0.5)
ROWS = {
    "trunk": [TRUNK], "base": [BASE], "opd": [OPD], "td": [TD], "td+opd": [HALF_TD, HALF_OPD],
    "truth": [TRUTH],
}  # fmt: skip


def main() -> None:
    """Run the recipes of a row one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--work", type=Path, required=True, help="what start.py has written")
    parser.add_argument("--updates", type=int, help="of the whole row; default: the recipe's")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trunk", type=int, help="seed of its trunk; default: --seed")
    parser.add_argument("--name", help="of the output, if not the row's")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="last stage only")
    args = parser.parse_args()
    work = args.work.resolve()
    folder, name = work / f"seed-{args.seed}", args.name or args.row
    trunk = work / f"seed-{args.seed if args.trunk is None else args.trunk}" / "trunk" / "best"
    start = work / "start" if args.row == "trunk" else trunk
    stages = ROWS[args.row]
    for number, stage in enumerate(stages, 1):
        last = number == len(stages)
        output = folder / (name if last else f"{name}.{number}")
        recipe = tomllib.loads((HERE / stage.recipe).read_text())
        updates = round((args.updates or recipe["optim"]["steps"]) * stage.share)
        # Another order for each stage: a clip heard once is known by heart for hundreds of updates.
        seed = args.seed + 100 * (number - 1)
        settings = [f"optim.steps={updates}", f"seed={seed}"]
        if stage.verb == "distill":
            settings.append(f"teacher.model='{work / 'teacher'}'")
        options = [str(HERE / stage.recipe), "--resume", "--start", str(start)]
        options += ["--output", str(output), "--dev", str(work / "dev.jsonl")]
        for manifest in stage.manifests:
            options += ["--train", str(work / manifest)]
        for setting in [*settings, *(args.set if last else [])]:
            options += ["--set", setting]
        several = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={args.processes}",
        ]
        # Behind the two dashes torchrun takes no option for one of its own (--start-method).
        how = [*several, "-m", "--", "ark_asr"] if args.processes > 1 else ["-m", "ark_asr"]
        command = [sys.executable, *how, "train", stage.verb, *options]
        subprocess.run(command, check=True)
        start = output / "best"


if __name__ == "__main__":
    main()

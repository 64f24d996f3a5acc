"""Curves of the rows: what each learned from, and how student and teacher came together.

python curves.py --work ../../runs/distill-mini --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from ark_asr.training.journal import curve, read_log

TAUGHT = ("trunk", "base", "td")
DISTILLED = ("opd", "td+opd")


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    paths = (args.work / f"seed-{args.seed}").glob("*/log.jsonl")
    logs = {path.parent.name: read_log(path) for path in paths}

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    losses, apart, errors = figure.subplots(1, 3)
    end = max(curve(logs["trunk"], "loss")[0])
    for name in TAUGHT:
        if name in logs:
            steps, values = curve(logs[name], "loss")
            after = 0 if name == "trunk" else end
            losses.plot([after + step for step in steps], values, label=name, linewidth=0.9)
    losses.set(title="transcripts", xlabel="updates, with the trunk's", yscale="log",
               ylabel="cross-entropy (nats per token)")  # fmt: skip
    for name in DISTILLED:
        if name in logs:
            (line,) = apart.plot(*curve(logs[name], "divergence"), label=f"{name}: divergence")
            steps, shares = curve(logs[name], "agreement")
            apart.plot(steps, shares, "--", color=line.get_color(), label=f"{name}: agreement")
            errors.plot(*curve(logs[name], "rollout_wer", 100), label=name)
    apart.set(title="student and teacher, on its texts", xlabel="updates of OPD",
              ylabel="nats; share of places")  # fmt: skip
    errors.set(title="the student's own texts", xlabel="updates of OPD",
               ylabel="WER % on training clips")  # fmt: skip
    apart.set_ylim(0, 1.4 * apart.get_ylim()[1])  # room for the names
    for axes in (losses, apart, errors):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()

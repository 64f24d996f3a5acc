"""The table and the picture of `real_size.py`, from its raw figures.

Raw figures are lines of text: ``raw``, the round, what was measured, and JSON. Where rounds differ,
the best of each is shown, which other programs on the machine disturbed least, and the median.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from size_ways import WAYS

MACHINE = "machine"
TASKS = {"total 10": "10 s", "total 30": "30 s", "ten minutes": "ten minutes"}
SECONDS = {"total 10": 10, "total 30": 30, "ten minutes": 600}
# What is to be reached: real-time factors of our own way.
AIMS = {"total 10": 0.12, "ten minutes": 0.09}
_COLUMNS = (("way", 9), ("load s", 14), ("first token s", 15), ("10 s clip s", 15), ("RTF", 15),
            ("30 s clip s", 15), ("RTF", 15), ("10 minutes s", 15), ("RTF", 15),
            ("peak GB", 9))  # fmt: skip


@dataclass
class Figures:
    """What was measured, way by way and round by round.

    Attributes:
        rounds: By round and way; seconds, and bytes of ``peak``.
        machines: By round: bytes a second read, ``memory``; int8 operations a second, ``products``.
    """

    rounds: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)
    machines: dict[int, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, lines: Iterable[str]) -> Figures:
        """Those of the lines that are raw figures; the others are left alone."""
        found = cls()
        for line in lines:
            if line.startswith("raw "):
                _, number, what, values = line.split(maxsplit=3)
                found.add(int(number), what, json.loads(values))
        return found

    def add(self, number: int, what: str, values: dict[str, float]) -> None:
        """Put what one round measured of a way, or of the machine, to the others."""
        if what == MACHINE:
            self.machines[number] = values
        else:
            self.rounds.setdefault(number, {})[what] = values

    @property
    def ways(self) -> list[str]:
        """All that were measured, in the order of ``WAYS``."""
        known = {way for ways in self.rounds.values() for way in ways}
        return [way for way in WAYS if way in known]

    def of(self, way: str, name: str) -> list[float]:
        """One figure of a way in all rounds."""
        return [ways[way][name] for ways in self.rounds.values() if way in ways]

    def times(self, way: str, task: str, base: str = "int8") -> tuple[float, float]:
        """How many times as long a way takes as another: best by best, and median of rounds."""
        rounds = [ways for ways in self.rounds.values() if way in ways and base in ways]
        return (min(self.of(way, task)) / min(self.of(base, task)),
                median(ways[way][task] / ways[base][task] for ways in rounds))  # fmt: skip

    def raw(self) -> list[str]:
        """The lines that `read` reads."""
        lines = []
        for number, ways in sorted(self.rounds.items()):
            for what, values in ({MACHINE: self.machines.get(number)} | ways).items():
                if values:
                    lines.append(f"raw {number} {what} {json.dumps(values)}")
        return lines


def table(figures: Figures) -> str:
    """Best and, behind a slash, median of each figure; then the ratios to int8."""
    several = len(figures.rounds) > 1
    lines = [machine_line(number, values) for number, values in sorted(figures.machines.items())]
    lines += ["", "".join(f"{title:>{width}}" for title, width in _COLUMNS)]
    for way in figures.ways:
        cells = [way, *(_cell(figures.of(way, name), 2) for name in ("load", "first 10"))]
        for task, seconds in SECONDS.items():
            took = figures.of(way, task)
            cells += [_cell(took, 2 if seconds < 60 else 1), _cell([t / seconds for t in took], 3)]
        cells.append(f"{max(figures.of(way, 'peak')) / 1e9:.2f}")
        widths = (width for _, width in _COLUMNS)
        lines.append("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    if several:
        lines += ["", f"best / median of {len(figures.rounds)} rounds; peak: the largest"]
    if "int8" in figures.ways:
        lines.append("")
        for way in figures.ways:
            if way != "int8":
                pairs = [figures.times(way, task) for task in TASKS]
                best, middle = (", ".join(f"{pair[i]:.1f}" for pair in pairs) for i in (0, 1))
                lines.append(
                    f"{way} takes {best} times as long as int8 ({', '.join(TASKS.values())})"
                    + (f", median of the rounds' own ratios {middle}" if several else "")
                )
    return "\n".join(lines)


def machine_line(number: int, values: dict[str, float]) -> str:
    """What the machine gave just before a round."""
    return (f"before round {number}: memory is read at {values['memory'] / 1e9:.1f} GB/s, int8 "
            f"products reach {values['products'] / 1e12:.2f} TOP/s")  # fmt: skip


def draw(figures: Figures, path: Path) -> None:
    """Bars of seconds per task and way, the ratio to int8 at each; a line at each aim."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "ark-asr", "font.size": 9})
    ways = figures.ways[::-1]
    figure = Figure(figsize=(8, 0.9 + 0.34 * len(ways)), layout="constrained")
    for axis, (task, title) in zip(figure.subplots(1, 3, sharey=True), TASKS.items(), strict=True):
        best = [min(figures.of(way, task)) for way in ways]
        axis.barh(ways, best, color=["#1b6ca8" if _ours(way) else "#b8c4ce" for way in ways])
        middle = [median(figures.of(way, task)) for way in ways]
        if len(figures.rounds) > 1:
            axis.plot(middle, ways, "|", color="#333333", markersize=9)
        for way, end in zip(ways, middle, strict=True):  # behind the mark of the median
            axis.annotate(_label(figures, way, task), (end, way), (4, 0), va="center", fontsize=8,
                          textcoords="offset points")  # fmt: skip
        if task in AIMS:
            aim = AIMS[task] * SECONDS[task]
            axis.axvline(aim, color="#d9822b", linestyle="--", linewidth=1)
        axis.set_title(f"{title}, seconds", fontsize=9)
        axis.set_xlim(0, max(best) * 1.5)
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _ours(way: str) -> bool:
    return way.startswith("int")


def _label(figures: Figures, way: str, task: str) -> str:
    took = min(figures.of(way, task))
    text = f"{took:.1f}" if took < 100 else f"{took:.0f}"
    if way == "int8" or "int8" not in figures.ways:
        return text
    return f"{text}  ({figures.times(way, task)[0]:.1f} ×)"  # noqa: RUF001 - the sign of products


def _cell(values: Sequence[float], digits: int) -> str:
    best = f"{min(values):.{digits}f}"
    return best if len(values) == 1 else f"{best} / {median(values):.{digits}f}"

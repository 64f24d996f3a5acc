"""The picture of a speed measurement (needs the extra 'plot')."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from ark_asr.errors import OptionError
from ark_asr.evaluation.speed import Measured, Speeds


def check_suffix(suffix: str) -> str:
    """The kind of picture that a file's suffix asks for.

    Raises:
        OptionError: It is none of ``.png``, ``.svg`` and ``.pdf``.
    """
    kind = suffix.lower().removeprefix(".")
    if kind not in {"png", "svg", "pdf"}:
        raise OptionError(f"a picture cannot be {suffix!r}; take .png, .svg or .pdf")
    return kind


def draw(speeds: Speeds, suffix: str) -> bytes:
    """Real-time factor over the length of clips, a line for each model, threads and batch.

    Args:
        speeds: What was measured.
        suffix: Of the file; see `check_suffix`.

    Raises:
        OptionError: It cannot be drawn as that.
    """
    kind = check_suffix(suffix)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, line in _lines(speeds.measured).items():
        seconds = [one.seconds for one in line]
        (drawn,) = axes.plot(seconds, [one.median for one in line], marker="o", label=name)
        axes.fill_between(
            seconds, [one.best for one in line], [max(one.times) / one.audio for one in line],
            color=drawn.get_color(), alpha=0.15, linewidth=0,
        )  # fmt: skip
    axes.set(xlabel="length of a clip (s)", ylabel="real-time factor (lower is faster)",
             title=f"{speeds.machine.cpu}, {speeds.machine.cores} cores")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def _lines(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    lines: dict[str, list[Measured]] = {}
    for one in sorted(measured, key=lambda one: one.seconds):
        together = f"{one.batch} together" if one.batch > 1 else "one by one"
        threads = f"{one.threads} thread" + "s" * (one.threads > 1)
        lines.setdefault(f"{one.model} {one.precision}, {threads}, {together}", []).append(one)
    return lines

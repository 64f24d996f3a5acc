"""Small plots as SVG, drawn for a page: colours and fonts are those of its style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from ark_asr.evaluation.intervals import Interval, interval
from ark_asr.evaluation.reliability import Bin

_WIDTH, _HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 12, 44
_DOTS = 2000  # more cannot be told apart, and would make the page slow
_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Point:
    """One utterance of a plot.

    Attributes:
        x: Seconds, or a confidence.
        errors: In words.
        words: Of its reference; more than none.
    """

    x: float
    errors: float
    words: int


def bar(rate: float, span: Interval | None, most: float) -> str:
    """A rate and its interval on a scale from 0 to ``most``."""
    at = [100 * min(value / most, 1.0) if most else 0.0 for value in (
        rate, *((span.low, span.high) if span else (rate, rate))
    )]  # fmt: skip
    title = percent(rate) + (f", 95 % {percent(span.low)} to {percent(span.high)}" if span else "")
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<rect class="fill" width="{at[0]:.2f}" y="1" height="8"/>'
        f'<rect class="whisker" x="{at[1]:.2f}" y="4" width="{max(at[2] - at[1], 0.3):.2f}" '
        f'height="2"/></svg>'
    )


def scatter(points: Sequence[Point], label: str, unit: str = "") -> str:
    """Errors of each utterance over x, and the rate of groups of about as many utterances."""
    rates = [point.errors / point.words for point in points]
    top = _ceiling(max(min(max(rates), 1.5), 0.1))
    low, high = min(point.x for point in points), max(point.x for point in points)
    if high > low:
        low = ticks(low, high)[0]
    frame = _Frame(low, high if high > low else low + 1, 0.0, top)
    step = max(len(points) / _DOTS, 1.0)
    shown = [int(number * step) for number in range(int(len(points) / step))]
    dots = "".join(
        f'<circle class="dot" cx="{frame.x(points[i].x):.1f}" '
        f'cy="{frame.y(min(rates[i], top)):.1f}" r="2.5"/>'
        for i in shown
    )
    marks = "".join(_group(frame, group) for group in _groups(points))
    return frame.draw(dots + marks, label, unit)


def reliability_diagram(bins: Iterable[Bin]) -> str:
    """Share of right words over confidence; on the diagonal, confidence is what it says."""
    frame = _Frame(0.0, 1.0, 0.0, 1.0, width=320, height=320)
    bins = list(bins)
    most = max(one.words for one in bins)
    line = (
        f'<line class="diagonal" x1="{frame.x(0):.1f}" y1="{frame.y(0):.1f}" '
        f'x2="{frame.x(1):.1f}" y2="{frame.y(1):.1f}"/>'
    )
    dots = "".join(
        f'<circle class="group-dot" cx="{frame.x(one.confidence):.1f}" '
        f'cy="{frame.y(one.right):.1f}" r="{2.5 + 5 * math.sqrt(one.words / most):.1f}">'
        f"<title>{one.words:,} words: confidence {one.confidence:.2f}, "
        f"{percent(one.right)} right</title></circle>"
        for one in bins
    )
    return frame.draw(line + dots, "confidence", "", "right words")


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from below ``low`` to ``high`` or above it."""
    if high <= low:
        return [low]
    step = _step((high - low) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


def percent(rate: float) -> str:
    """With one decimal: "12.3 %"."""
    return f"{100 * rate:.1f} %"


@dataclass(frozen=True, slots=True)
class _Frame:
    """Axes, and where a value lies on the drawing."""

    left: float
    right: float
    bottom: float
    top: float
    width: int = _WIDTH
    height: int = _HEIGHT

    def x(self, value: float) -> float:
        room = self.width - _LEFT - _RIGHT
        return _LEFT + room * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        room = self.height - _TOP - _BOTTOM
        return self.height - _BOTTOM - room * (value - self.bottom) / (self.top - self.bottom)

    def draw(self, inside: str, label: str, unit: str, y_label: str = "WER") -> str:
        ys = ticks(self.bottom, self.top)
        grid = "".join(
            f'<line class="grid" x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{self.y(value):.1f}" '
            f'y2="{self.y(value):.1f}"/><text class="tick" text-anchor="end" x="{_LEFT - 6}" '
            f'y="{self.y(value) + 4:.1f}">{100 * value:.0f} %</text>'
            for value in ys
        )
        names = "".join(
            f'<text class="tick" text-anchor="middle" x="{self.x(value):.1f}" '
            f'y="{self.height - _BOTTOM + 18}">{value:g}{unit}</text>'
            for value in ticks(self.left, self.right)
            if value <= self.right
        )
        title = f"{y_label} over {label}"
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" '
            f'style="max-width:{self.width}px" role="img" aria-label="{escape(title)}">'
            f'{grid}{names}<text class="axis" text-anchor="middle" '
            f'x="{(_LEFT + self.width - _RIGHT) / 2}" y="{self.height - 6}">{escape(title)}</text>'
            f"{inside}</svg>"
        )


def _groups(points: Sequence[Point]) -> list[list[Point]]:
    """Neighbours in x, about as many in each group, none with less than five."""
    ordered = sorted(points, key=lambda point: point.x)
    count = min(_GROUPS, len(ordered) // 5)
    if count < 2:
        return []
    edges = [round(number * len(ordered) / count) for number in range(count + 1)]
    return [ordered[first:last] for first, last in pairwise(edges)]


def _group(frame: _Frame, group: Sequence[Point]) -> str:
    errors, words = [one.errors for one in group], [one.words for one in group]
    rate, span = sum(errors) / sum(words), interval(errors, words)
    x = float(np.median([one.x for one in group]))
    title = f"{group[0].x:.3g} to {group[-1].x:.3g}: {percent(rate)}, {len(group)} utterances"
    whisker = ""
    if span is not None:
        high, low = (frame.y(min(value, frame.top)) for value in (span.high, span.low))
        whisker = (
            f'<line class="group" x1="{frame.x(x):.1f}" x2="{frame.x(x):.1f}" y1="{high:.1f}" '
            f'y2="{low:.1f}"/>'
        )
    return (
        f'{whisker}<circle class="group-dot" cx="{frame.x(x):.1f}" '
        f'cy="{frame.y(min(rate, frame.top)):.1f}" r="5"><title>{title}</title></circle>'
    )


def _step(rough: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))


def _ceiling(value: float) -> float:
    return ticks(0.0, value)[-1]

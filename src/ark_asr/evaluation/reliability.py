"""Are words of confidence 0.8 right eight times in ten? Reliability, its error, and the mending.

The error is the expected calibration error of Guo et al., "On Calibration of Modern Neural
Networks" (2017); the curve is isotonic regression by pooling adjacent violators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ark_asr.models.calibration import Curve
from ark_asr.types import FloatArray, IntArray

BINS = 15
_GROUPS = 20  # points of a curve, at most
_LEAST = 20  # words in each
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Bin:
    """Words whose confidence is about the same.

    Attributes:
        confidence: Their mean.
        right: Share of them that is right.
        words: How many they are.
    """

    confidence: float
    right: float
    words: int


def reliability(confidence: FloatArray, right: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """The diagram: words by confidence, in bins of equal width; empty ones are left out."""
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    found = []
    for number in np.unique(place):
        here = place == number
        found.append(
            Bin(float(confidence[here].mean()), float(right[here].mean()), int(here.sum()))
        )
    return found


def calibration_error(confidence: FloatArray, right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean distance of confidence and share that is right, over the words of the diagram."""
    diagram = reliability(confidence, right, bins)
    return sum(one.words * abs(one.confidence - one.right) for one in diagram) / len(confidence)


def fit_curve(raw: FloatArray, right: NDArray[np.bool_]) -> Curve:
    """The rising curve that fits best, through at most twenty groups of equally many words.

    Each group counts one word more that is right and one more that is wrong, so that nothing is
    certain because it has not failed yet.
    """
    order = np.argsort(raw, kind="stable")
    groups = np.array_split(order, min(max(min(len(raw) // _LEAST, _GROUPS), 2), len(raw)))
    pooled: list[tuple[float, float, float]] = []  # probability, share that is right, words
    for group in groups:
        share = (right[group].sum() + 1) / (len(group) + 2)
        pooled.append((float(raw[group].mean()), float(share), float(len(group))))
        while len(pooled) > 1:
            (x1, y1, n1), (x2, y2, n2) = pooled[-2:]
            # Of one probability there is one share: which words come first is chance.
            if y1 < y2 and round(x1, _DIGITS) < round(x2, _DIGITS):
                break
            n = n1 + n2
            pooled[-2:] = [((x1 * n1 + x2 * n2) / n, (y1 * n1 + y2 * n2) / n, n)]
    points = [(round(x, _DIGITS), round(y, _DIGITS)) for x, y, _ in pooled]
    if len(points) == 1:  # nothing rises
        points = [(0.0, points[0][1]), (1.0, points[0][1])]
    return Curve(tuple(points))


def held_out(
    raw: FloatArray, right: NDArray[np.bool_], recording: IntArray, folds: int = 5
) -> FloatArray:
    """Confidence of each word by a curve that was fitted without its recording, ``[words]``.

    The words are of at least two recordings.
    """
    confidence = np.empty(len(raw), np.float32)
    # By order and not by number: recordings without words may stand between the others.
    _, order = np.unique(recording, return_inverse=True)
    for fold in range(folds):
        here = order % folds == fold
        if here.any():
            curve = fit_curve(raw[~here], right[~here])
            confidence[here] = [curve(value) for value in raw[here]]
    return confidence

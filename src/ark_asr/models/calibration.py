"""What was found out about a checkpoint by measuring it: ``calibration.json`` beside its weights.

Which decoder heads follow the sound, and how often a word of a given probability is right. Word
times and confidence are better with it; both work without.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ark_asr.errors import ModelFormatError
from ark_asr.models.config import read_json, require
from ark_asr.models.package import MANIFEST_FILE, Manifest, hash_file

CALIBRATION_FILE = "calibration.json"
KIND = "ark-asr-calibration"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """One attention head of the decoder; both numbers count from 0."""

    layer: int
    head: int


@dataclass(frozen=True, slots=True)
class Curve:
    """From the model's own probability to how often it is right: straight between points.

    Attributes:
        points: ``(probability, share that is right)``, both ascending, at least two.
    """

    points: tuple[tuple[float, float], ...]

    def __call__(self, probability: float) -> float:
        """Share that is right among words of that probability; the ends go on level."""
        given, right = zip(*self.points, strict=True)
        return float(np.interp(probability, given, right))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The content of ``calibration.json``.

    Attributes:
        heads: The heads that word times are read from.
        confidence: For the product of a word's token probabilities.
        basis: What it was measured on, in words.
    """

    heads: tuple[Head, ...]
    confidence: Curve
    basis: str

    def save(self, folder: Path) -> None:
        """Write ``calibration.json`` and enter it in the manifest, if the folder is a package.

        Whenever this is cut short, the folder is a whole model with the old calibration, the new
        one, or a new one that `verify` does not know yet.
        """
        data = {
            "kind": KIND,
            "format_version": FORMAT_VERSION,
            "basis": self.basis,
            "heads": [[head.layer, head.head] for head in self.heads],
            "confidence": self.confidence.points,
        }
        manifest = Manifest.load(folder) if (folder / MANIFEST_FILE).is_file() else None
        if manifest is not None and CALIBRATION_FILE in manifest.files:
            files = {name: f for name, f in manifest.files.items() if name != CALIBRATION_FILE}
            manifest = replace(manifest, files=files)
            manifest.save(folder)
        path = folder / CALIBRATION_FILE
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(data) + "\n", encoding="utf-8")
        partial.replace(path)
        if manifest is not None:
            files = {**manifest.files, CALIBRATION_FILE: hash_file(path)}
            replace(manifest, files=dict(sorted(files.items()))).save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Calibration | None:
        """Read ``calibration.json``; ``None`` if the folder has none.

        Raises:
            ModelFormatError: It is not what it must be.
        """
        path = Path(folder) / CALIBRATION_FILE
        if not path.is_file():
            return None
        data = read_json(path)
        if (data.get("kind"), data.get("format_version")) != (KIND, FORMAT_VERSION):
            raise ModelFormatError(f"{path}: not a calibration of this version; calibrate again")
        require(data, {"basis": str, "heads": list, "confidence": list}, str(path))
        return cls(_heads(data["heads"], path), _curve(data["confidence"], path), data["basis"])


def _heads(data: list[Any], path: Path) -> tuple[Head, ...]:
    try:
        heads = tuple(Head(int(layer), int(head)) for layer, head in data)
    except (TypeError, ValueError, OverflowError):
        heads = ()
    if not heads:
        raise ModelFormatError(f"{path}: heads must be pairs of layer and head; calibrate again")
    return heads


def _curve(data: list[Any], path: Path) -> Curve:
    try:
        points = np.array([(float(given), float(right)) for given, right in data])
    except (TypeError, ValueError, OverflowError):
        points = np.empty((0, 2))
    ascending = len(points) > 1 and (np.diff(points, axis=0) >= 0).all()
    if not ascending or points.min() < 0 or points.max() > 1:
        raise ModelFormatError(
            f"{path}: confidence must be at least two ascending pairs between 0 and 1; "
            "calibrate again"
        )
    return Curve(tuple((given, right) for given, right in points.tolist()))

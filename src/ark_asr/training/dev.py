"""What a run is scored on: read before it begins, so that nothing is wrong an hour later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ark_asr.batch.places import is_remote
from ark_asr.errors import OptionError
from ark_asr.training.config import TrainConfig
from ark_asr.training.rows import Row, read_manifest
from ark_asr.training.validate import plain


@dataclass(frozen=True, slots=True)
class DevSet:
    """One dev manifest.

    Attributes:
        name: In the log; no other has the same.
        rows: Those that are scored.
    """

    name: str
    rows: tuple[Row, ...]


def dev_sets(config: TrainConfig) -> list[DevSet]:
    """The dev manifests of a recipe.

    Raises:
        OptionError: One cannot be read, has nothing to score, or names a recording that is missing.
    """
    places = [config.place(manifest) for manifest in config.data.dev]
    return [
        DevSet(name, _rows(place, config.data.dev_limit))
        for name, place in zip(_names(places), places, strict=True)
    ]


def _names(places: Sequence[str]) -> list[str]:
    """Names of the files; where two have the same, with their folders."""
    paths = [PurePath(place).with_suffix("") for place in places]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(places)):
            return names
    return list(places)


def _rows(place: str, limit: int) -> tuple[Row, ...]:
    rows = read_manifest(place)
    count = min(limit or len(rows), len(rows))
    rows = [rows[i * len(rows) // count] for i in range(count)]  # of all parts of the manifest
    if not any(plain(row.text) for row in rows):
        raise OptionError(f"{place}: has no words to score; name other rows, or no dev manifest")
    lost = next((row.audio for row in rows if not _is_there(row.audio)), None)
    if lost is not None:
        raise OptionError(f"{place}: cannot score {lost}: no such file")
    return tuple(rows)


def _is_there(audio: str) -> bool:
    try:
        return is_remote(audio) or Path(audio).exists()
    except (OSError, ValueError):  # a name too long, or with a null byte
        return False

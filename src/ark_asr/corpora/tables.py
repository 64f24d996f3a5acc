"""Collections that are tables of tab-separated values beside folders of clips.

Common Voice: ``train.tsv`` with a head, ``clips/``. FLEURS: ``train.tsv`` without one, and the
unpacked ``audio/train/``. Neither quotes its cells, so quotation marks belong to the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import make_record
from ark_asr.corpora.wishes import Wishes, choose_splits, read_lines
from ark_asr.errors import OptionError

_SPLITS = ("train", "dev", "test")
_CLIPS = "clips"
_DURATIONS = "clip_durations.tsv"
_FLEURS_RATE = 16_000
# id, file, text as written, text without case and punctuation, its letters, samples, gender
_FLEURS_CELLS = 7


def is_common_voice(folder: Path) -> bool:
    """Whether there are clips and a table that names them."""
    return (folder / _CLIPS).is_dir() and bool(_common_voice_tables(folder))


def read_common_voice(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records of train, dev and test; of ``validated`` and others if asked for."""
    tables = _common_voice_tables(folder)
    lengths = _durations(folder / _DURATIONS)
    for split in choose_splits(tables, _SPLITS, wishes):
        for number, row in _rows(tables[split]):
            if not row.get("path"):
                raise OptionError(f"{tables[split]}: line {number} names no clip")
            name = row["path"] if Path(row["path"]).suffix else f"{row['path']}.mp3"
            yield make_record(
                folder / _CLIPS / name,
                row["sentence"],
                speaker=row.get("client_id") or None,
                split=split,
                language=row.get("locale") or None,
                duration=lengths.get(name),
                gender=row.get("gender") or None,
                age=row.get("age") or None,
                accent=row.get("accents") or row.get("accent") or None,
            )


def is_fleurs(folder: Path) -> bool:
    """Whether there is a table of seven columns whose second names a sound file."""
    return bool(_fleurs_tables(folder))


def read_fleurs(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records of its parts; ``text`` is as written, ``text_norm`` without case and punctuation."""
    tables = _fleurs_tables(folder)
    for split in choose_splits(tables, _SPLITS, wishes):
        path = tables[split]
        places = (folder / "audio" / split, folder / split)
        clips = next((place for place in places if place.is_dir()), None)
        if clips is None:
            raise OptionError(f"{places[0]}: is not there; unpack audio/{split}.tar.gz in audio/")
        for number, line in read_lines(path):
            cells = line.split("\t")
            if len(cells) != _FLEURS_CELLS:
                raise OptionError(f"{path}: line {number} has {len(cells)} cells, not 7")
            key, name, text, plain, _, samples, gender = cells
            yield make_record(
                clips / name,
                text,
                id=key,
                split=split,
                duration=round(int(samples) / _FLEURS_RATE, 3) if samples.isdigit() else None,
                gender=gender.lower(),
                text_norm=plain,
            )


def _common_voice_tables(folder: Path) -> dict[str, Path]:
    needed = {"client_id", "path", "sentence"}
    return {
        path.stem: path
        for path in sorted(folder.glob("*.tsv"))
        if needed <= set(_first_cells(path))
    }


def _fleurs_tables(folder: Path) -> dict[str, Path]:
    tables = {}
    for path in sorted(folder.glob("*.tsv")):
        cells = _first_cells(path)
        if len(cells) == _FLEURS_CELLS and cells[1].endswith(".wav"):
            tables[path.stem] = path
    return tables


def _first_cells(path: Path) -> list[str]:
    return next((line.split("\t") for _, line in read_lines(path)), [])


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    lines = read_lines(path)
    head = next(lines)[1].split("\t")
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) > len(head):
            raise OptionError(f"{path}: line {number} has more cells than the head has names")
        yield number, dict(zip(head, chain(cells, [""] * (len(head) - len(cells))), strict=True))


def _durations(path: Path) -> dict[str, float]:
    """Seconds of each clip; the table has milliseconds."""
    if not path.is_file():
        return {}
    lengths = (line.split("\t") for _, line in read_lines(path))
    return {row[0]: int(row[1]) / 1000 for row in lengths if len(row) > 1 and row[1].isdigit()}

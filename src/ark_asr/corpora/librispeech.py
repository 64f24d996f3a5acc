"""LibriSpeech and whatever lies as it does: ``part/speaker/chapter/speaker-chapter.trans.txt``.

https://www.openslr.org/12
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import make_record
from ark_asr.corpora.wishes import Wishes, choose_splits, read_lines

_TRANSCRIPTS = "*.trans.txt"
_SOUND = (".flac", ".wav", ".opus", ".ogg", ".mp3")
_SPEAKERS = "SPEAKERS.TXT"


def is_librispeech(folder: Path) -> bool:
    """Whether there is a file of transcripts as LibriSpeech has them."""
    return next(folder.rglob(_TRANSCRIPTS), None) is not None


def read_librispeech(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records in the order of parts, speakers, chapters and sentences."""
    by_part: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob(_TRANSCRIPTS)):
        by_part.setdefault(_part(path), []).append(path)
    if wishes.splits:
        names = choose_splits(dict.fromkeys(by_part, folder), (), wishes)
        by_part = {name: by_part[name] for name in names}
    genders = _genders(folder)
    for part, transcripts in by_part.items():
        for path in transcripts:
            for number, line in read_lines(path):
                name, _, text = line.partition(" ")
                sound = _sound(path.parent, name)
                if sound is None:
                    wishes.warn(f"{path}: line {number}: there is no recording of {name}")
                    continue
                speaker = name.partition("-")[0]
                yield make_record(
                    sound,
                    text,
                    id=name,
                    speaker=speaker,
                    split=part or None,
                    gender=genders.get(speaker),
                )


def _part(path: Path) -> str:
    """The folder above those of speaker and chapter, such as ``dev-clean``."""
    return path.parent.parent.parent.name


def _sound(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for suffix in _SOUND)
    return next((path for path in paths if path.is_file()), None)


def _genders(folder: Path) -> dict[str, str]:
    """By speaker, from the table ``id | sex | part | minutes | name`` above the parts."""
    table = next(
        (it / _SPEAKERS for it in (folder, folder.parent) if (it / _SPEAKERS).is_file()), None
    )
    if table is None:
        return {}
    cells = [line.split("|") for _, line in read_lines(table) if not line.startswith(";")]
    return {row[0].strip(): row[1].strip() for row in cells if len(row) > 1}

"""A data folder of Kaldi: ``wav.scp``, and ``segments``, ``text``, ``utt2spk`` where it has them.

https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import make_record
from ark_asr.corpora.wishes import Wishes, read_lines
from ark_asr.errors import ManifestError, OptionError

_SOUND = "wav.scp"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Piece:
    """An utterance: a part of a recording, or all of it (negative times)."""

    recording: str
    begin: float = -1.0
    end: float = -1.0


def is_kaldi(folder: Path) -> bool:
    """Whether it has a table of recordings."""
    return (folder / _SOUND).is_file()


def read_kaldi(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records in the order of ``segments``, or of ``wav.scp`` where there are none.

    Raises:
        ManifestError: Lines of a table are wrong, or name a command.
    """
    problems: list[str] = []
    sounds = _named(folder, _SOUND, lambda value: _path(value, folder), problems)
    pieces = {name: _Piece(name) for name in sounds}
    if (folder / "segments").is_file():
        pieces = _named(folder, "segments", lambda value: _piece(value, sounds), problems)
    texts, speakers, genders = (
        _named(folder, file, str, problems) for file in ("text", "utt2spk", "spk2gender")
    )
    if problems:
        raise ManifestError(f"{folder}: {len(problems)} lines are wrong", tuple(problems))

    if not texts:
        wishes.warn(f"{folder}: has no transcripts (text); all texts are empty")
    silent = [name for name in pieces if texts and name not in texts]
    if silent:
        wishes.warn(f"{folder}: {len(silent)} utterances have no text, such as {silent[0]}")
    for name, piece in pieces.items():
        yield make_record(
            sounds[piece.recording],
            texts.get(name, ""),
            begin=piece.begin,
            end=piece.end,
            id=name,
            speaker=speakers.get(name),
            gender=genders.get(speakers.get(name, "")),
        )


def _table(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, key and value of a table; none where it is missing."""
    if not path.is_file():
        return
    for number, line in read_lines(path):
        name, *value = line.split(maxsplit=1)
        yield number, name, value[0].strip() if value else ""


def _named(
    folder: Path, file: str, parse: Callable[[str], _Value], problems: list[str]
) -> dict[str, _Value]:
    """What a table says of each name; its wrong lines are added to ``problems``."""
    found: dict[str, _Value] = {}
    for number, name, value in _table(folder / file):
        if name in found:  # the later one would take its place
            problems.append(f"  {file}: line {number}: {name!r} is there already")
            continue
        try:
            found[name] = parse(value)
        except OptionError as error:
            problems.append(f"  {file}: line {number}: {error}")
    return found


def _piece(value: str, sounds: dict[str, Path]) -> _Piece:
    cells = value.split()
    try:
        recording, begin, end = cells[0], float(cells[1]), float(cells[2])
    except (IndexError, ValueError):
        raise OptionError("must be: utterance, recording, begin and end in seconds") from None
    if recording not in sounds:
        raise OptionError(f"there is no recording {recording!r} in {_SOUND}")
    if not (math.isfinite(begin) and begin >= 0 and (end == -1 or begin < end < math.inf)):
        raise OptionError(f"begin ({begin:g} s) and end ({end:g} s) make no sense")
    return _Piece(recording, begin, end)


def _path(value: str, folder: Path) -> Path:
    """The file of a recording; relative to the folder, else to the current one as in Kaldi.

    Raises:
        OptionError: It is a command or a place in an archive.
    """
    if value.endswith("|"):
        value = _decoded(value)
    path = Path(value)
    beside = folder / path
    if path.suffix.startswith(".ark:"):
        raise OptionError(f"{value} is a place in an archive; write the sound to files first")
    return beside if not path.is_absolute() and beside.is_file() else path


def _decoded(command: str) -> str:
    """The file that a command does nothing with but decode it: ``flac -c -d -s FILE |``.

    Raises:
        OptionError: It is another command; none is run.
    """
    try:
        program, *words = shlex.split(command.removesuffix("|"))
    except ValueError:
        program, words = "", []
    files = [word for word in words if not word.startswith("-")]
    flags = set(words) - set(files)
    if program != "flac" or len(files) != 1 or not flags <= {"-c", "-d", "-s", "-cd", "-dc"}:
        raise OptionError(f"{command!r:.60} is a command, and no command of a collection is run; "
                          "write the sound to files first")  # fmt: skip
    return files[0]

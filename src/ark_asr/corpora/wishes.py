"""What a user wants of a collection, and how its text files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be read, and how.

    Attributes:
        splits: Only these parts of a collection that has parts; empty for its usual ones.
        text_field: Column of the transcripts, where a layout does not say which it is.
        speaker_folders: In a plain folder, each recording's own folder is named for its speaker.
        audio_folder: Where recordings are put that lie inside other files.
        warn: Called with one line for what was left out.
    """

    splits: tuple[str, ...] = ()
    text_field: str | None = None
    speaker_folders: bool = False
    audio_folder: Path | None = None
    warn: Callable[[str], None] = lambda _: None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and content of each line that is not blank.

    Raises:
        OptionError: It cannot be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path}: is not UTF-8; convert it first") from None


def choose_splits(found: dict[str, Path], usual: tuple[str, ...], wishes: Wishes) -> list[str]:
    """The parts to read: those asked for, else those of the usual ones that are there, else all.

    Raises:
        OptionError: One that was asked for is not there.
    """
    for name in wishes.splits:
        if name not in found:
            raise OptionError(f"there is no part {name!r}; there are {', '.join(sorted(found))}")
    return list(wishes.splits) or [name for name in usual if name in found] or sorted(found)

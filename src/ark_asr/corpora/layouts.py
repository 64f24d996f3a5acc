"""Layouts of collections on disk: which one a folder has, and the records in it.

Each reader is a function from a folder to records. None runs a command, opens a connection or
believes that a recording is there: that is seen when its length is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ark_asr.batch.records import Record
from ark_asr.corpora.beside import read_folder
from ark_asr.corpora.hugging_face import is_hugging_face, read_hugging_face
from ark_asr.corpora.kaldi import is_kaldi, read_kaldi
from ark_asr.corpora.librispeech import is_librispeech, read_librispeech
from ark_asr.corpora.tables import (
    is_common_voice,
    is_fleurs,
    read_common_voice,
    read_fleurs,
)
from ark_asr.corpora.wishes import Wishes
from ark_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class Layout:
    """How a collection lies on disk.

    Attributes:
        fits: Whether a folder has it, by the names in it.
        read: Its records, in an order that depends on names only.
    """

    fits: Callable[[Path], bool]
    read: Callable[[Path, Wishes], Iterator[Record]]


LAYOUTS: Mapping[str, Layout] = {
    "kaldi": Layout(is_kaldi, read_kaldi),
    "librispeech": Layout(is_librispeech, read_librispeech),
    "commonvoice": Layout(is_common_voice, read_common_voice),
    "fleurs": Layout(is_fleurs, read_fleurs),
    "huggingface": Layout(is_hugging_face, read_hugging_face),
    "folder": Layout(lambda _: True, read_folder),
}


def find_layout(folder: Path, name: str | None = None) -> tuple[str, Layout]:
    """The layout of a folder: the one that is named, else the first that fits.

    Raises:
        OptionError: There is no such folder or layout, or it does not fit.
    """
    if not folder.is_dir():
        raise OptionError(f"{folder}: is no folder")
    if name is None:
        return next((key, layout) for key, layout in LAYOUTS.items() if layout.fits(folder))
    if name not in LAYOUTS:
        raise OptionError(f"there is no layout {name!r}; there are {', '.join(LAYOUTS)}")
    if not LAYOUTS[name].fits(folder):
        raise OptionError(f"{folder}: does not look like {name}; see docs/data.md for its files")
    return name, LAYOUTS[name]

"""A plain folder: each recording with its transcript beside it, ``a.flac`` and ``a.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ark_asr.batch.manifests import recordings_in
from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import make_record
from ark_asr.corpora.wishes import Wishes, read_lines

_SHOWN = 5


def read_folder(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records of all recordings beneath a folder, in the order of their paths.

    A recording without a transcript has an empty text.
    """
    without = []
    for path in recordings_in(folder):
        transcript = path.with_suffix(".txt")
        if transcript.is_file():
            text = " ".join(line for _, line in read_lines(transcript))
        else:
            without.append(path)
            text = ""
        speaker = path.parent.name if wishes.speaker_folders and path.parent != folder else None
        yield make_record(path, text, speaker=speaker)
    for path in without[:_SHOWN]:
        wishes.warn(f"{path}: has no transcript ({path.stem}.txt); its text is empty")
    if len(without) > _SHOWN:
        wishes.warn(f"and {len(without) - _SHOWN} more recordings without a transcript")

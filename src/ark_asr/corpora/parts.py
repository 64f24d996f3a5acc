"""Parts of a collection: several manifests, or the values of ``split`` in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.records import Record
from ark_asr.corpora.checking import Part
from ark_asr.errors import OptionError


def read_parts(sources: Sequence[str], *, audio_root: str | None = None) -> list[Part]:
    """The parts of manifests, in their order.

    A single manifest is divided by ``split``; one whose rows have none is one part without a name.
    Of several, each is a part, named as its file.

    Raises:
        OptionError: One cannot be read, or two would have the same name.
    """
    if len(sources) == 1:
        return divide(read_manifest(sources[0], audio_root=audio_root))
    names = [PurePath(source).stem for source in sources]
    if len(set(names)) < len(names):
        names = list(sources)
    if len(set(names)) < len(names):
        raise OptionError(f"{max(names, key=names.count)} is named twice")
    return [
        Part(name, read_manifest(source, audio_root=audio_root))
        for name, source in zip(names, sources, strict=True)
    ]


def divide(records: Sequence[Record]) -> list[Part]:
    """Records by their ``split``, in order of first appearance."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        split = record.field("split")
        parts.setdefault("" if split is None else str(split), []).append(record)
    return [Part(name, rows) for name, rows in parts.items()]

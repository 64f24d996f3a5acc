"""A dataset of Hugging Face on disk, without its library: ``save_to_disk``, or Parquet files.

Sound that lies inside the tables is written to files as it is, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from ark_asr.batch.records import OURS, Record, parse_json
from ark_asr.corpora.manifest import make_record
from ark_asr.corpora.wishes import Wishes, choose_splits
from ark_asr.errors import MissingExtraError, OptionError
from ark_asr.writers import write_atomic

_STATE = "state.json"
_TEXT = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_text")
_SPEAKER = ("speaker", "speaker_id", "client_id")
_BATCH = 64  # rows in memory at once, each with its sound
_MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3"}


def is_hugging_face(folder: Path) -> bool:
    """Whether there are tables that datasets are saved in."""
    return bool(_tables(folder))


def read_hugging_face(folder: Path, wishes: Wishes) -> Iterator[Record]:
    """Records of all parts, in the order of the tables.

    Raises:
        OptionError: A table cannot be read, has no column of sound or of text, or its rows are
            chosen by an index.
        MissingExtraError: pyarrow is not installed.
    """
    tables = _tables(folder)
    for split in choose_splits(dict.fromkeys(tables, folder), tuple(tables), wishes):
        number = 0
        for path in tables[split]:
            for row in _rows(path):
                yield _record(row, path, split, number, wishes)
                number += 1


def _tables(folder: Path) -> dict[str, list[Path]]:
    """The files of each part, in their order."""
    saved = sorted(folder.glob(_STATE)) or sorted(folder.glob(f"*/{_STATE}"))
    if saved:
        parts = {path.parent.name if path.parent != folder else "": path for path in saved}
        return {part: _saved(path) for part, path in parts.items()}
    tables: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        # The Hub names them train-00000-of-00002.parquet, in one folder or one for each part.
        split, dash, _ = path.stem.partition("-0")
        named = path.parent.name if path.parent != folder else ""
        tables.setdefault(split if dash else named or path.stem, []).append(path)
    return tables


def _saved(state: Path) -> list[Path]:
    """The tables of a part, as its ``state.json`` lists them."""
    try:
        content = parse_json(state.read_bytes())
    except OptionError as error:
        raise OptionError(f"{state}: {error}") from None
    try:
        files = [state.parent / PurePath(file["filename"]).name for file in content["_data_files"]]
    except (KeyError, TypeError):
        raise OptionError(f"{state}: is not of a saved dataset") from None
    if content.get("_indices_files"):
        raise OptionError(f"{state}: its rows are chosen by an index; flatten_indices() it first")
    return files


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingExtraError("a dataset of Hugging Face", "files") from None
    try:
        if path.suffix == ".parquet":
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    yield from batch.to_pylist()
            return
        with arrow.memory_map(str(path)) as source, arrow.ipc.open_stream(source) as batches:
            for batch in batches:
                for first in range(0, batch.num_rows, _BATCH):
                    yield from batch.slice(first, _BATCH).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise OptionError(f"{path}: cannot be read ({error})") from None


def _record(row: Mapping[str, Any], path: Path, split: str, number: int, wishes: Wishes) -> Record:
    audio = next((key for key, value in row.items() if _is_sound(value)), None)
    known = _TEXT if wishes.text_field is None else (wishes.text_field,)
    text = next((key for key in known if key in row), None)
    if audio is None:
        raise OptionError(f"{path}: row {number + 1} has no sound (a path, or bytes with one)")
    if text is None or not isinstance(row.get(text) or "", str):
        raise OptionError(f"{path}: has no column of transcripts; say which with --text-field "
                          f"({', '.join(row)})")  # fmt: skip
    # It may be a structure of its own, which is nobody's name.
    speaker = next((key for key in _SPEAKER if _is_plain(row.get(key)) and row[key] != ""), None)
    used = {audio, text, speaker, "speaker", "split"}
    extra = [(key, value) for key, value in row.items() if key not in used and _is_plain(value)]
    sound = _sound(row[audio], path, split, number, wishes)
    voice = None if speaker is None else str(row[speaker])
    made = make_record(sound, row[text] or "", speaker=voice, split=split or None)
    return replace(made, extra=(*made.extra, *(it for it in extra if it[0] not in OURS)))


def _is_plain(value: object) -> bool:
    """Whether it can be a value of a row."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _is_sound(value: object) -> bool:
    return isinstance(value, Mapping) and {"bytes", "path"} <= value.keys()


def _sound(value: Any, table: Path, split: str, number: int, wishes: Wishes) -> Path:  # noqa: ANN401
    """The file of a row's sound, written if it was inside the table."""
    data, named = value["bytes"], PurePath(value["path"] or "")
    if data is None:
        if not named.name:
            raise OptionError(f"{table}: row {number + 1} has neither sound nor a path")
        return table.parent / named
    if wishes.audio_folder is None:
        raise OptionError("the sound lies inside the tables; say where to put it")
    suffix = named.suffix or next((it for head, it in _MAGIC.items() if data.startswith(head)), "")
    target = wishes.audio_folder / split / f"{number:08}{suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data)
    except OSError as error:
        raise OptionError(f"{target}: cannot be written ({error.strerror or error})") from None
    return target

"""What is finished of one recording, on disk, so that an interrupted run can go on.

A journal is a text file of JSON lines: what it belongs to, then one line for each batch of clips
that is finished. It holds text that was spoken: only its owner may read it, and it is removed when
the transcript is there. A line that was being written when the program ended counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ark_asr.audio import Source
from ark_asr.audio.sources import name_of
from ark_asr.errors import AudioNotFoundError, OptionError, readable
from ark_asr.pipeline.drift import Said
from ark_asr.types import Alternative, Segment, TranscribeOptions, Word

_KIND = "ark-asr-journal"
_OTHER = {"options": "other options", "program": "another version of the program"}
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Origin:
    """What a journal belongs to; it is of no use for anything else.

    Attributes:
        program: Name and version.
        recording: SHA-256 of the file.
        model: See `fingerprint`.
        options: See `describe`.
    """

    program: str
    recording: str
    model: str
    options: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How far a run has come.

    Attributes:
        clips: Clips that are done.
        said: What the next clip can look back at.
        segments: Those of these clips.
    """

    clips: int = 0
    said: tuple[Said, ...] = ()
    segments: tuple[Segment, ...] = ()


class Journal:
    """The journal of one recording.

    Args:
        path: The file; it need not exist.
        program: Name and version of the program that writes it: another may cut differently.
    """

    def __init__(self, path: str | Path, program: str = "") -> None:
        self.path = Path(path)
        self.program = program

    def open(self, origin: Origin) -> Finished:
        """Begin a journal, or go on with the one that is there.

        Raises:
            OptionError: The file is no journal, a damaged one, or one of something else.
            OSError: It cannot be read or written.
        """
        head = {"kind": _KIND, "version": _VERSION, **asdict(origin)}
        first = json.dumps(head, ensure_ascii=False) + "\n"
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(file, "r+b") as opened:
            *lines, rest = opened.read().split(b"\n")
            if lines:
                self._check(lines[0], head)
                opened.seek(-len(rest), os.SEEK_END)
            elif first.encode().startswith(rest):
                opened.seek(0)
            else:
                raise self._unknown()
            opened.truncate()
            if not lines:
                _write(opened.fileno(), first)
        try:
            return _finished(lines[1:])
        except (ValueError, LookupError, TypeError, AttributeError):
            raise OptionError(
                f"{self.path}: is a damaged journal; remove the file to begin anew"
            ) from None

    def add(self, done: Finished) -> None:
        """Note the clips that are done, with the segments that came since the last note."""
        row = {
            "clips": done.clips,
            "said": [asdict(said) for said in done.said],
            "segments": [asdict(segment) for segment in done.segments],
        }
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            _write(file, json.dumps(row, ensure_ascii=False) + "\n")
        finally:
            os.close(file)

    def remove(self) -> None:
        """The transcript is in its place; nothing of it stays here."""
        self.path.unlink(missing_ok=True)

    def _check(self, line: bytes, expected: dict[str, Any]) -> None:
        try:
            head = json.loads(line)
        except ValueError:
            raise self._unknown() from None
        if not isinstance(head, dict) or head.get("kind") != _KIND:
            raise self._unknown()
        changed = [name for name, value in expected.items() if head.get(name) != value]
        if changed:
            raise OptionError(
                f"{self.path}: was begun with {_OTHER.get(changed[0], 'another ' + changed[0])}; "
                "go on as it was begun, or remove the file to begin anew"
            )

    def _unknown(self) -> OptionError:
        return OptionError(f"{self.path}: is no journal of ark-asr; name another file")


def _finished(lines: Sequence[bytes]) -> Finished:
    rows = [json.loads(line) for line in lines]
    if not rows:
        return Finished()
    segments = tuple(_segment(segment) for row in rows for segment in row["segments"])
    said = tuple(Said(one["text"], tuple(one["token_ids"])) for one in rows[-1]["said"])
    return Finished(rows[-1]["clips"], said, segments)


def _write(file: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)


def _segment(row: dict[str, Any]) -> Segment:
    words = tuple(Word(**word) for word in row.pop("words"))
    alternatives = tuple(Alternative(**one) for one in row.pop("alternatives"))
    flat: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return Segment(**flat, words=words, alternatives=alternatives)


def hash_recording(source: Source) -> str:
    """SHA-256 of a recording's file.

    Raises:
        AudioNotFoundError: There is none.
        OptionError: It is no file, so it could not be read again from its start.
        OSError: It cannot be read.
    """
    name = name_of(source)
    if not isinstance(source, str | os.PathLike) or source == "-":
        raise OptionError(f"{name}: is no file; only files can be resumed")
    if not Path(source).exists():
        raise AudioNotFoundError(f"{name}: no such file")
    if not Path(source).is_file():
        raise OptionError(f"{name}: is no file; only files can be resumed")
    with Path(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(model: str, folder: Path | None) -> str:
    """A model's name, and a hash of the names, sizes and times of its files."""
    if folder is None:
        return readable(model)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        stat = path.stat()
        digest.update(os.fsencode(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n"))
    return f"{readable(model)} {digest.hexdigest()}"


def describe(options: TranscribeOptions, engine: object) -> str:
    """Everything besides recording and model that the transcript depends on."""
    return f"{type(engine).__name__} {options!r}"

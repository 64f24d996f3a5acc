"""Tar shards: many clips in few files, which is what object stores and network disks like.

A shard is an ordinary tar file in WebDataset's form (``000012.wav`` beside ``000012.json``). The
manifest says at which byte each clip begins, so a clip is one read, without unpacking, in any
order.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_asr.audio import open_audio
from ark_asr.audio.wav import wav_bytes
from ark_asr.batch.places import is_remote
from ark_asr.errors import AudioError, OptionError
from ark_asr.training.places import read_bytes
from ark_asr.training.rows import Row, read_manifest, read_samples

MANIFEST = "manifest.jsonl"
_SOUND = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
_RATE = 16_000


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in a tar: where its bytes are."""

    name: str
    offset: int
    size: int


def pack(manifest: str, folder: Path, *, megabytes: float = 512.0) -> int:
    """Write the clips of a manifest as shards with a manifest of their own.

    Whole files are taken as they are; pieces of long ones become 16-bit WAV at 16 kHz.

    Returns:
        The number of shards.

    Raises:
        OptionError: The folder has shards already, or a clip cannot be read.
    """
    target = folder / MANIFEST
    if target.exists():
        raise OptionError(f"{target} exists already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    number, waiting = 0, read_manifest(manifest)
    if not waiting:
        raise OptionError(f"{manifest}: has no rows")
    while waiting:
        path = folder / f"shard-{number:05d}.tar"
        taken = _write_shard(path, waiting, round(megabytes * 1e6))
        members = {member.name: member for member in _members(path)}
        for i, row in enumerate(waiting[:taken]):
            sound = next(m for name, m in members.items() if name.startswith(f"{i:06d}.")
                         and not name.endswith(".json"))  # fmt: skip
            lines.append(_line(path.name, sound, row.text, row.seconds))
        waiting = waiting[taken:]
        number += 1
    _replace(target, lines)
    return number


def index(tars: Sequence[Path], manifest: Path) -> int:
    """Make a manifest of tar files in WebDataset's form, which stay as they are.

    The transcript of ``x.flac`` is in ``x.txt``, or in ``x.json`` under ``text``.

    Returns:
        The number of clips.

    Raises:
        OptionError: A tar cannot be read, or a clip has no transcript; it is named.
    """
    lines = []
    for tar in tars:
        place = os.path.relpath(tar, manifest.parent)
        members = {member.name: member for member in _members(tar)}
        for name, member in members.items():
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name inside of a tar
            if suffix.lower() not in _SOUND:
                continue
            text = _transcript(tar, members, stem)
            data = read_bytes(str(tar), (member.offset, member.size))
            try:
                with open_audio(data) as stream:
                    seconds = stream.duration or sum(len(b.samples) for b in stream) / _RATE
            except AudioError as error:
                raise OptionError(f"{tar}: {name} cannot be used ({error})") from None
            lines.append(_line(place, member, text, seconds))
    if not lines:
        raise OptionError("no tar has a clip in it; names must end in " + ", ".join(_SOUND))
    _replace(manifest, lines)
    return len(lines)


def _write_shard(path: Path, rows: Sequence[Row], size: int) -> int:
    """One shard of about ``size`` bytes; how many rows went into it."""
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, "w") as tar:
        for i, row in enumerate(rows):
            if i and tar.offset >= size:
                break
            suffix, data = _sound(row)
            text = json.dumps({"text": row.text, "duration": row.seconds}, ensure_ascii=False)
            for end, content in ((suffix, data), (".json", text.encode())):
                info = tarfile.TarInfo(f"{i:06d}{end}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            taken = i + 1
    partial.replace(path)
    return taken


def _sound(row: Row) -> tuple[str, bytes]:
    """Suffix and content of a clip's file."""
    try:
        if row.end is None and row.span is None:
            return Path(row.audio).suffix.lower() or ".bin", read_bytes(row.audio)
        samples = read_samples(row, _RATE)
    except (OSError, ValueError) as error:
        raise OptionError(f"{row.audio}: cannot be read ({error})") from None
    return ".wav", wav_bytes(samples, _RATE)


def _members(path: Path) -> Iterator[_Member]:
    if is_remote(str(path)):
        raise OptionError(f"{path}: shards are made and listed on a disk, then copied")
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.isfile():
                    yield _Member(info.name, info.offset_data, info.size)
    except (tarfile.TarError, OSError) as error:
        raise OptionError(f"{path}: is no tar that can be read ({error})") from None


def _transcript(tar: Path, members: dict[str, _Member], stem: str) -> str:
    for suffix in (".txt", ".json"):
        if member := members.get(stem + suffix):
            data = read_bytes(str(tar), (member.offset, member.size))
            try:
                whole = data.decode("utf-8-sig")
                found: Any = whole.strip() if suffix == ".txt" else json.loads(whole)["text"]
            except (ValueError, KeyError, TypeError):
                break
            if isinstance(found, str):
                return found
            break
    raise OptionError(f"{tar}: {stem} has no transcript (.txt, or .json with text, in UTF-8)")


def _line(shard: str, member: _Member, text: str, seconds: float) -> str:
    row = {
        "audio": shard, "offset": member.offset, "bytes": member.size, "text": text,
        "duration": round(seconds, 3),
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False) + "\n"


def _replace(path: Path, lines: Sequence[str]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(path)

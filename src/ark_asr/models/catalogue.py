"""The models this program knows by name: where they are, what they are, what they may be used for.

The facts are data, in ``catalogue.json`` beside this file. What nobody published is ``null`` there
and is said in ``unknown``; a number is never guessed. The reader is strict, because a mistake in
the catalogue would be a mistake about what is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from ark_asr.errors import ModelFormatError
from ark_asr.models.config import read_json, require
from ark_asr.models.package import DATA_FILE

CATALOGUE_FILE = Path(__file__).with_name("catalogue.json")
FORMAT_VERSION = 1
CHECKPOINT = "checkpoint"
# Of models that help to tell speakers apart; they write nothing down.
SPEAKER_LAYOUTS = frozenset({"speaker-segmentation", "speaker-embedding"})

# What is fetched, imported or read, told by the ending: weights, graphs, their raw tables, JSON and
# text. Nothing that can hold code (Python, pickles, PyTorch files) has a place here.
SUFFIXES = frozenset({".safetensors", ".onnx", ".data", ".onnx_data", ".json", ".txt"})

# PyTorch gives its pickles the ending .bin, and numpy's files can hold some: of these endings only
# our own raw table, and the two of the Audio8 bundle, which are read without unpickling.
_TABLES = frozenset({DATA_FILE, "token_embedding.npy", "audio_projector.npz"})

# Of devices, to Windows: with any ending, in any folder.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_FOLDER = re.compile(r"\w[\w-]*")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_model_name(name: str) -> bool:
    """Lower case letters, digits, dots and dashes: safe as the name of a folder anywhere."""
    sound = _NAME.fullmatch(name) is not None and not name.endswith(".")
    return sound and name.partition(".")[0] not in _DEVICES


def is_model_file(name: str) -> bool:
    """The name of a file of a kind that is read, without any folder before it."""
    flat = PurePath(name).name == name and not set(name) & set('\\:/<>|"?\0')
    flat = flat and name.isprintable() and name.partition(".")[0].lower() not in _DEVICES
    harmless = PurePath(name).suffix in SUFFIXES or name in _TABLES
    return flat and harmless and not name.startswith(".")


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model may be used for.

    Attributes:
        spdx: SPDX name.
        commercial: Whether it allows commercial use.
        note: What else must be said; may be empty.
    """

    spdx: str
    commercial: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """One file of a model.

    Attributes:
        name: Its name; ``*`` stands for any text where the published names are not known.
        size: Bytes, if known.
        sha256: Hexadecimal, if known.
        optional: The model works without it; fetched if it is there.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    optional: bool = False

    def matches(self, name: str) -> bool:
        """Whether a file of a repository is this one."""
        return fnmatchcase(name, self.name) and is_model_file(name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: What a user types.
        aliases: Other names, compared without regard to case; those of the hub among them.
        description: One line.
        layout: How its folder is laid out.
        runs: Whether this version can run or convert that layout.
        repositories: On the hub, the current name first; its owner was renamed twice.
        revision: Commit that is fetched; ``None`` if none is known.
        licence: What it may be used for.
        languages: ISO 639 codes; empty for a model that does not ask for one.
        download_bytes: About how much is fetched.
        memory_bytes: About how much memory it needs to run.
        memory_basis: How that is known.
        files: Everything that is fetched, and nothing else ever is.
        folders: Where they are in the repository, empty text for its top; here they lie together.
        unknown: What is not known, in words; may be empty.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    layout: str
    runs: bool
    repositories: tuple[str, ...]
    revision: str | None
    licence: Licence
    languages: tuple[str, ...]
    download_bytes: int
    memory_bytes: int
    memory_basis: str
    files: tuple[CatalogueFile, ...]
    unknown: str
    folders: tuple[str, ...] = ("",)

    @property
    def transcribes(self) -> bool:
        """Whether it is a model that ``--model`` takes."""
        return self.layout not in SPEAKER_LAYOUTS

    def answers_to(self, name: str) -> bool:
        """Whether a user may mean this model."""
        return name.casefold() in {known.casefold() for known in (self.name, *self.aliases)}

    def known_sha256(self, file: str) -> str | None:
        """What the catalogue says of a file."""
        return next((known.sha256 for known in self.files if known.name == file), None)


@cache
def catalogue() -> tuple[Entry, ...]:
    """All models, in the order of the file."""
    return read_catalogue(CATALOGUE_FILE)


def find(name: str) -> Entry | None:
    """The model of that name or alias."""
    return next((entry for entry in catalogue() if entry.answers_to(name)), None)


def read_catalogue(path: Path) -> tuple[Entry, ...]:
    """Read a catalogue.

    Raises:
        ModelFormatError: It is not exactly what it must be; the place is named.
    """
    data = read_json(path)
    _exact(data, {"format_version": int, "models": list}, str(path))
    if data["format_version"] != FORMAT_VERSION:
        raise ModelFormatError(f"{path}: format version is not {FORMAT_VERSION}")
    entries = tuple(_entry(raw, f"{path}: model {i}") for i, raw in enumerate(data["models"]))
    names = [name.casefold() for entry in entries for name in (entry.name, *entry.aliases)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelFormatError(f"{path}: {', '.join(twice)} is there twice")
    return entries


def _entry(raw: object, where: str) -> Entry:
    kinds: dict[str, type] = {
        "name": str, "aliases": list, "description": str, "layout": str, "runs": bool,
        "repositories": list, "revision": str, "licence": dict, "languages": list,
        "download_bytes": int, "memory_bytes": int, "memory_basis": str, "files": list,
        "unknown": str,
    }  # fmt: skip
    if isinstance(raw, dict) and "folders" in raw:
        kinds["folders"] = list
    data = _exact(raw, kinds, where, nullable={"revision"})
    where = f"{where} ({data['name']})"
    for key in ("aliases", "repositories", "languages"):
        if not all(isinstance(text, str) and text for text in data[key]):
            raise ModelFormatError(f"{where}: {key} holds something that is not text")
    licence = {"spdx": str, "commercial": bool, "note": str}
    data["licence"] = Licence(**_exact(data["licence"], licence, f"{where}: licence"))
    data["files"] = tuple(_file(file, f"{where}: files") for file in data["files"])
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    entry = Entry(**fields)
    wrong = [
        key
        for key, right in (
            ("name", is_model_name(entry.name)),
            ("repositories", entry.repositories and all(map(_is_repository, entry.repositories))),
            ("folders", entry.folders and all(map(_is_folder, entry.folders))),
            ("revision", entry.revision is None or _REVISION.fullmatch(entry.revision)),
            ("sizes", min(entry.download_bytes, entry.memory_bytes) > 0),
            ("files", len({file.name for file in entry.files}) == len(entry.files) > 0),
        )
        if not right
    ]
    if wrong:
        raise ModelFormatError(f"{where}: wrong {', '.join(wrong)}")
    return entry


def _file(raw: object, where: str) -> CatalogueFile:
    kinds = {"name": str, "size": int, "sha256": str, "optional": bool}
    file = CatalogueFile(**_exact(raw, kinds, where, nullable={"size", "sha256"}))
    if not is_model_file(file.name.replace("*", "0")):
        raise ModelFormatError(f"{where}: {file.name!r} is not the name of a file that is read")
    if "*" in file.name and (file.size is not None or file.sha256 is not None):
        raise ModelFormatError(f"{where}: {file.name} stands for many files, it has no one size")
    if file.size is not None and file.size <= 0:
        raise ModelFormatError(f"{where}: {file.name} has size {file.size}")
    if file.sha256 is not None and not _SHA256.fullmatch(file.sha256):
        raise ModelFormatError(f"{where}: {file.name} has a SHA-256 that is none")
    return file


def _is_repository(text: str) -> bool:
    return _REPOSITORY.fullmatch(text) is not None and ".." not in text


def _is_folder(path: object) -> bool:
    return path == "" or (
        isinstance(path, str) and all(_FOLDER.fullmatch(part) for part in path.split("/"))
    )


def _exact(
    raw: object, kinds: Mapping[str, type], where: str, nullable: set[str] | None = None
) -> dict[str, Any]:
    """A JSON object with these keys and no others."""
    if not isinstance(raw, dict):
        raise ModelFormatError(f"{where}: expected an object, found {type(raw).__name__}")
    if odd := set(raw) ^ set(kinds):
        raise ModelFormatError(f"{where}: missing or unknown: {', '.join(sorted(odd))}")
    given = {key for key in kinds if not (raw[key] is None and key in (nullable or set()))}
    flags = {key for key in given if kinds[key] is bool}
    if not all(isinstance(raw[key], bool) for key in flags):
        raise ModelFormatError(f"{where}: {', '.join(sorted(flags))} must be true or false")
    require(raw, {key: kinds[key] for key in given - flags}, where)
    return dict(raw)

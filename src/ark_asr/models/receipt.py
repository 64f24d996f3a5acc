"""What was downloaded, from where, and why each file is believed: ``ark_asr_source.json``.

Written beside a downloaded model's files, so that it can be verified years later without a network.
Our own packages say the same in their manifest (`ark_asr.models.package`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ark_asr.errors import ModelFormatError
from ark_asr.models.catalogue import is_model_file, is_model_name
from ark_asr.models.config import read_json, require
from ark_asr.models.package import check_sizes, hash_file

RECEIPT_FILE = "ark_asr_source.json"
KIND = "ark-asr-source"
FORMAT_VERSION = 1

# catalogue: this program knew the SHA-256; hub: the hub's own hash at the pinned revision.
Basis: TypeAlias = Literal["catalogue", "hub"]
_BASES = ("catalogue", "hub")


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One file: bytes, SHA-256 (hexadecimal), and whose word that was."""

    size: int
    sha256: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a downloaded folder holds.

    Attributes:
        name: Of the model in the catalogue.
        layout: How the folder is laid out.
        repository: Where it came from.
        revision: Which commit.
        licence: SPDX name.
        files: Every file but this one.
    """

    name: str
    layout: str
    repository: str
    revision: str
    licence: str
    files: dict[str, ReceivedFile]

    def save(self, folder: Path) -> None:
        """Write ``ark_asr_source.json``."""
        data = {"kind": KIND, "format_version": FORMAT_VERSION, **asdict(self)}
        text = json.dumps(data, indent=1, ensure_ascii=False)
        (folder / RECEIPT_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Receipt:
        """Read it and check that every file is there with its size.

        Raises:
            ModelNotFoundError: It or a file it names is missing.
            ModelFormatError: It is damaged, or a file has another size.
        """
        path = folder / RECEIPT_FILE
        data = read_json(path)
        if (data.get("kind"), data.get("format_version")) != (KIND, FORMAT_VERSION):
            raise ModelFormatError(f"{path}: is not a {KIND} of version {FORMAT_VERSION}")
        texts = ("name", "layout", "repository", "revision", "licence")
        require(data, {**dict.fromkeys(texts, str), "files": dict}, str(path))
        try:
            files = {name: ReceivedFile(**entry) for name, entry in data["files"].items()}
        except TypeError as error:
            raise ModelFormatError(f"{path}: not a complete list of files ({error})") from None
        receipt = cls(**{key: data[key] for key in texts}, files=files)
        receipt._check(path)
        check_sizes(
            folder,
            {name: file.size for name, file in files.items()},
            missing="remove the model and pull it again",
            damaged="remove the model and pull it again",
        )
        return receipt

    def _check(self, path: Path) -> None:
        if not (is_model_name(self.name) and is_model_name(self.layout)):
            raise ModelFormatError(f"{path}: {self.name!r} or {self.layout!r} is no name")
        for name, file in self.files.items():
            numbers = isinstance(file.size, int) and file.size >= 0 and isinstance(file.sha256, str)
            sound = numbers and re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.basis in _BASES
            if not is_model_file(name) or not sound:
                raise ModelFormatError(f"{path}: {name!r} is not the entry of a model file")

    def verify(self, folder: Path, progress: Callable[[int], None] | None = None) -> None:
        """Hash every file; ``progress`` is told the bytes read.

        Raises:
            ModelFormatError: Files are not the ones that were received; all are named.
        """
        wrong = [
            name
            for name, expected in self.files.items()
            if hash_file(folder / name, progress).sha256 != expected.sha256
        ]
        if wrong:
            raise ModelFormatError(
                f"{folder}: SHA-256 of {', '.join(wrong)} is not the recorded one; "
                "remove the model and pull it again"
            )

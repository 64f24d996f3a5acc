"""The folder where models are kept: ``<home>/<variant>/<name>/``.

The variant is ``checkpoint`` for published weights, the precision for packages made of them
(``int8``), and the layout for anything else. One model can be there in several; a user writes
``name`` for the best of them, or ``name:variant``.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import ModelNotFoundError, OptionError
from ark_asr.models.catalogue import CHECKPOINT, find, is_model_name
from ark_asr.models.package import MANIFEST_FILE
from ark_asr.models.receipt import RECEIPT_FILE

HOME_VARIABLE = "ARK_ASR_HOME"
# Downloads and conversions that are not finished; never looked at as models.
UNFINISHED = "unfinished"
# The best one first, for running on a CPU.
_PREFERENCE = ("int8", "int4", "fp32", CHECKPOINT)


@dataclass(frozen=True, slots=True)
class Installed:
    """One variant of one model in the store."""

    name: str
    variant: str
    path: Path

    def __str__(self) -> str:
        return f"{self.name}:{self.variant}"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


def store_folder() -> Path:
    """``$ARK_ASR_HOME``, else ``ark-asr`` in the platform's folder for caches.

    Raises:
        OptionError: ``$ARK_ASR_HOME`` begins with a home folder that there is not.
    """
    if chosen := os.environ.get(HOME_VARIABLE):
        return expand(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ark-asr"


def expand(path: str | Path) -> Path:
    """``~`` and ``~name`` replaced by a home folder.

    Raises:
        OptionError: Nobody is called so.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise OptionError(f"{path}: there is no home folder of that name") from None


def settle(made: Path, dest: Path) -> None:
    """Give a finished folder its place, whole or not at all, also if the power fails just then.

    Raises:
        OSError: It cannot be put there.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    _flush(made)
    try:
        made.rename(dest)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a variant may be kept on another disk
            raise
        with tempfile.TemporaryDirectory(prefix=f".{dest.name}.", dir=dest.parent) as near:
            copy = shutil.copytree(made, Path(near) / "model")
            _flush(copy)
            copy.rename(dest)
        shutil.rmtree(made)


def _flush(folder: Path) -> None:
    """Onto the disk: a power cut must leave no name without its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:  # Windows flushes only what may be written
                os.fsync(file.fileno())


def place(name: str, variant: str) -> Path:
    """Where a variant of a model is, or would be."""
    return store_folder() / variant / name


def installed(name: str | None = None) -> list[Installed]:
    """What is in the store, by name, the best variant of each first."""
    found = []
    for mark in (MANIFEST_FILE, RECEIPT_FILE):
        for path in store_folder().glob(f"*/*/{mark}"):
            folder = path.parent
            variant = folder.parent.name
            plain = is_model_name(folder.name) and variant != UNFINISHED
            if plain and name in (None, folder.name):
                found.append(Installed(folder.name, variant, folder))
    return sorted(found, key=lambda one: (one.name, _rank(one.variant), one.variant))


def closed() -> Path | None:
    """A folder of the store that this user may not look into, and that is so not in `installed`.

    Others that are closed, such as ``lost+found`` of a disk, could hold no model.
    """
    looked = [store_folder()]
    for _ in range(3):  # the store, its variants, their models
        inside: list[Path] = []
        for folder in looked:
            try:
                with os.scandir(folder) as entries:
                    inside += [Path(entry.path) for entry in entries if entry.is_dir()]
            except PermissionError:
                return folder
            except OSError:  # there is none, or it has just gone
                continue
        looked = [one for one in inside if is_model_name(one.name) and one.name != UNFINISHED]
    return None


def lookup(wanted: str) -> list[Installed]:
    """The installed variants that ``name``, an alias or ``name:variant`` means, best first."""
    name, _, variant = wanted.partition(":")
    entry = find(name)
    found = installed(entry.name if entry else name)
    return [one for one in found if variant in ("", one.variant)]


def remove(wanted: str) -> list[Installed]:
    """Delete a model with all its variants and broken downloads, or one variant; tell which.

    Raises:
        ModelNotFoundError: It is not in the store.
        OptionError: It cannot be deleted.
    """
    gone = find_all(wanted)
    if not gone:
        known = ", ".join(str(one) for one in installed()) or "nothing"
        raise ModelNotFoundError(f"{wanted!r} is not in the store; {known} is")
    for one in reversed(gone):  # what is unfinished first: `discard` would sweep it away too
        try:
            discard(one)
        except OSError as error:
            raise OptionError(
                f"{one.path}: cannot be deleted ({error.strerror or error})"
            ) from None
    return gone


def discard(one: Installed) -> None:
    """Delete a folder of the store.

    It leaves its place at once: a deletion that is cut short must not leave half a model there,
    which could neither be used nor pulled again.

    Raises:
        OSError: It cannot be deleted.
    """
    if one.path.is_symlink():  # what it leads to is not the store's
        one.path.unlink()
        return
    going = one.path
    if one.variant != UNFINISHED:
        aside = store_folder() / UNFINISHED / f"{one.name}-removed"
        if aside.exists():  # of a deletion that was cut short
            shutil.rmtree(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            going = one.path.rename(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:  # a variant may be kept on another disk
                raise
    shutil.rmtree(going)


def find_all(wanted: str) -> list[Installed]:
    """What `remove` would delete."""
    return [*lookup(wanted), *_broken(wanted)]


def _broken(wanted: str) -> list[Installed]:
    """Downloads and conversions of a model that never were finished."""
    name = entry.name if (entry := find(wanted)) else wanted
    folders = (store_folder() / UNFINISHED).glob("*-*")
    found = [path for path in folders if path.is_dir() and path.name.rpartition("-")[0] == name]
    # As `ark_asr.graphs.convert` calls what it is making, beside where it is to be.
    making = store_folder().glob("*/.*")
    found += [
        path for path in making if path.is_dir() and path.name.rpartition(".")[0] == f".{name}"
    ]
    return [Installed(name, UNFINISHED, path) for path in found]


def _rank(variant: str) -> int:
    return _PREFERENCE.index(variant) if variant in _PREFERENCE else len(_PREFERENCE)

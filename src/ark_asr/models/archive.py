"""A model as one file, for a room without a network.

A plain tar archive. Its first member, ``ark_asr_archive.json``, names the model and every other
member with size and SHA-256. The same model gives the same bytes on every machine: members in order
of name, no times, no owners. Nothing is unpacked by `tarfile` itself: each member must be a regular
file with a listed name, is written under that name and hashed on the way.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.catalogue import find, is_model_file, is_model_name
from ark_asr.models.fields import parse_object, require
from ark_asr.models.home import (
    UNFINISHED,
    Installed,
    discard,
    place,
    settle,
    store_folder,
)
from ark_asr.models.package import MANIFEST_FILE, Manifest, PackageFile, hash_file, verify_package
from ark_asr.models.receipt import RECEIPT_FILE, Receipt, ReceivedFile

LIST_FILE = "ark_asr_archive.json"
KIND = "ark-asr-archive"
FORMAT_VERSION = 1
_MAX_LIST = 1 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive says of itself: name and variant of the model, and its files."""

    name: str
    variant: str
    files: dict[str, PackageFile]


def files_of(folder: Path) -> dict[str, PackageFile]:
    """Size and SHA-256 of every file of a model, as its manifest or receipt records them.

    Raises:
        ModelNotFoundError: There is neither, or a file is missing.
        ModelFormatError: A file has another size.
    """
    if (folder / MANIFEST_FILE).is_file():
        files, mark = dict(Manifest.load(folder).files), MANIFEST_FILE
    elif (folder / RECEIPT_FILE).is_file():
        received = Receipt.load(folder).files
        files = {name: PackageFile(file.size, file.sha256) for name, file in received.items()}
        mark = RECEIPT_FILE
    else:
        raise ModelNotFoundError(
            f"{folder}: has neither {MANIFEST_FILE} nor {RECEIPT_FILE}, no hashes are known"
        )
    return {**files, mark: hash_file(folder / mark)}


def verify(folder: Path, progress: Callable[[int], None] | None = None) -> None:
    """Hash every file of a package or of a downloaded model.

    Raises:
        ModelNotFoundError: A file is missing, or no hashes are known of this folder.
        ModelFormatError: A file is not what it was.
    """
    if (folder / MANIFEST_FILE).is_file():
        verify_package(folder, progress)
    else:
        files_of(folder)
        Receipt.load(folder).verify(folder, progress)


def export_model(
    model: Installed, dest: Path, progress: Callable[[int], None] | None = None
) -> PackageFile:
    """Write an archive; return its size and SHA-256.

    Args:
        model: What goes in; it is verified on the way.
        dest: The archive; appears under its name only when it is complete.
        progress: Told the bytes written.

    Raises:
        OptionError: ``dest`` exists already or cannot be written, or no store would take the model
            under its name.
        ModelFormatError: A file is not what its manifest says.
    """
    if dest.exists():
        raise OptionError(f"{dest}: exists already; choose another name")
    files = files_of(model.path)
    name, variant, _ = _held(model.path)
    if not is_model_name(name):
        raise OptionError(
            f"{model.path}: is called {name!r}, and a name in the store is of lower case letters, "
            "digits, dots and dashes; convert it again with --name"
        )
    if (name, variant) != (model.name, model.variant):
        raise OptionError(
            f"{model.path}: holds {name}:{variant}, which cannot be exported as {model}; move the "
            f"folder to {variant}/{name}"
        )
    contents = Contents(model.name, model.variant, dict(sorted(files.items())))
    head = {"kind": KIND, "format_version": FORMAT_VERSION, **asdict(contents)}
    text = (json.dumps(head, indent=1, sort_keys=True) + "\n").encode()
    part = dest.with_name(f"{dest.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_member(LIST_FILE, len(text)), io.BytesIO(text))
            for name, expected in contents.files.items():
                with (model.path / name).open("rb") as file:
                    hashed = _Hashed(file, progress)
                    tar.addfile(_member(name, expected.size), hashed)
                hashed.check(expected, model.path / name)
        written = hash_file(part)
        part.rename(dest)
    except OSError as error:
        part.unlink(missing_ok=True)
        if isinstance(error, ModelNotFoundError):
            raise
        raise OptionError(f"{dest}: cannot be written ({error.strerror or error})") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return written


def import_model(
    archive: Path, *, overwrite: bool = False, progress: Callable[[int], None] | None = None
) -> Installed:
    """Check an archive and put its model into the store.

    Args:
        archive: What `export_model` wrote.
        overwrite: Replace the same variant of the same model.
        progress: Told the bytes read.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: It is no archive of a model, is damaged, or holds what it must not.
        OptionError: The model is in the store already, or there is no room.
    """
    if not archive.is_file():
        raise ModelNotFoundError(f"{archive}: no such file")
    unfinished = store_folder() / UNFINISHED
    try:
        opened = _Sparing(archive.open("rb", buffering=0))
    except OSError as error:
        raise OptionError(f"{archive}: cannot be read ({error.strerror or error})") from None
    try:
        with opened, tarfile.open(fileobj=opened, mode="r:") as tar:
            contents = _read_list(tar, archive)
            dest = place(contents.name, contents.variant)
            if dest.exists() and not overwrite:
                raise OptionError(
                    f"{contents.name}:{contents.variant} is in the store already; "
                    "overwrite or remove it"
                )
            unfinished.mkdir(parents=True, exist_ok=True)
            # Named by the model, so that `remove` sweeps away what a killed import left.
            with tempfile.TemporaryDirectory(prefix=f"{contents.name}-", dir=unfinished) as made:
                folder = Path(made) / "model"
                folder.mkdir()
                _unpack(tar, contents, folder, archive, progress)
                _check(folder, contents, archive)
                if dest.exists():
                    discard(Installed(contents.name, contents.variant, dest))
                settle(folder, dest)
    except tarfile.TarError as error:
        raise ModelFormatError(f"{archive}: not a whole archive of a model ({error})") from None
    except OSError as error:
        if isinstance(error, (ModelNotFoundError, ModelFormatError)):
            raise
        raise OptionError(
            f"{store_folder()}: cannot be written ({error.strerror or error})"
        ) from None
    return Installed(contents.name, contents.variant, dest)


def _read_list(tar: tarfile.TarFile, archive: Path) -> Contents:
    first = tar.next()
    if first is None or first.name != LIST_FILE or not first.isreg() or first.size > _MAX_LIST:
        raise ModelFormatError(f"{archive}: does not begin with {LIST_FILE}; not made by export")
    file = tar.extractfile(first)
    where = f"{archive}: {LIST_FILE}"
    data = parse_object(file.read() if file else b"", where, unique=True)
    if (data.get("kind"), data.get("format_version")) != (KIND, FORMAT_VERSION):
        raise ModelFormatError(f"{where}: is not a {KIND} of version {FORMAT_VERSION}")
    require(data, {"name": str, "variant": str, "files": dict}, where)
    for name in (data["name"], data["variant"]):
        if not is_model_name(name) or name == UNFINISHED:
            raise ModelFormatError(f"{where}: {name!r} is not the name of a model or variant")
    try:
        files = {str(name): PackageFile(**entry) for name, entry in data["files"].items()}
    except TypeError as error:
        raise ModelFormatError(f"{where}: not a complete list of files ({error})") from None
    for name, entry in files.items():
        numbers = type(entry.size) is int and entry.size >= 0 and isinstance(entry.sha256, str)
        if not is_model_file(name):
            raise ModelFormatError(f"{where}: {name!r} is not the name of a model file; refused")
        if not numbers or not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
            raise ModelFormatError(f"{where}: {name} lacks a size or a SHA-256")
    return Contents(data["name"], data["variant"], files)


def _unpack(
    tar: tarfile.TarFile,
    contents: Contents,
    folder: Path,
    archive: Path,
    progress: Callable[[int], None] | None,
) -> None:
    missing = dict(contents.files)
    while member := tar.next():
        expected = missing.pop(member.name, None)
        # A sparse one is a regular file to tarfile, and a few bytes of it could fill any disk.
        plain = member.isreg() and not member.issparse()
        if expected is None or not plain or member.size != expected.size:
            raise ModelFormatError(
                f"{archive}: {member.name!r} is not in its list, or not as a file of that size; "
                "refused"
            )
        file = tar.extractfile(member)
        digest = hashlib.sha256()
        with (folder / member.name).open("xb") as out:
            while file and (block := file.read(_BLOCK)):
                digest.update(block)
                out.write(block)
                if progress:
                    progress(len(block))
        if digest.hexdigest() != expected.sha256:
            raise ModelFormatError(f"{archive}: SHA-256 of {member.name} is wrong; refused")
    if missing:
        raise ModelFormatError(f"{archive}: lacks {', '.join(sorted(missing))}; it is not whole")


def _check(folder: Path, contents: Contents, archive: Path) -> None:
    """The archive's own list proves only that it is whole; this is what it claims to be."""
    if set(contents.files) != set(files_of(folder)):
        raise ModelFormatError(f"{archive}: its list is not that of the model's own manifest")
    verify(folder)
    name, variant, received = _held(folder)
    if (name, variant) != (contents.name, contents.variant):
        raise ModelFormatError(f"{archive}: says {contents.name}, holds {name}:{variant}; refused")
    entry = find(contents.name)
    for name, file in received.items():
        known = entry.known_sha256(name) if entry else None
        if known not in (None, file.sha256):
            raise ModelFormatError(
                f"{archive}: {name} is not the one that was published as {contents.name}; refused"
            )


def _held(folder: Path) -> tuple[str, str, Mapping[str, ReceivedFile]]:
    """Name and variant by the model's own word; what was received of it, if it was."""
    if (folder / MANIFEST_FILE).is_file():
        manifest = Manifest.load(folder)
        return manifest.name, manifest.precision, {}
    receipt = Receipt.load(folder)
    return receipt.name, receipt.layout, receipt.files


class _Sparing(io.BufferedReader):
    """An archive of which no more is read at once than a block of a member.

    `tarfile` takes a header of any length in one piece: names, and whatever else somebody thinks
    of. Ours are a few hundred bytes.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on.

        Raises:
            TarError: That is more than any part of an archive needs.
        """
        if size is None or not 0 <= size <= _BLOCK:
            raise tarfile.TarError(f"a header of {size:,} bytes")
        return super().read(size)


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: io.BufferedReader, progress: Callable[[int], None] | None) -> None:
        self._file, self._progress, self.digest = file, progress, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        block = self._file.read(size)
        self.digest.update(block)
        if self._progress:
            self._progress(len(block))
        return block

    def check(self, expected: PackageFile, path: Path) -> None:
        """Compare what was read with what was recorded."""
        if self.digest.hexdigest() != expected.sha256:
            raise ModelFormatError(
                f"{path}: SHA-256 is not the recorded one; remove the model and pull it again"
            )


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member

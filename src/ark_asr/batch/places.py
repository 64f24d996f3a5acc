"""Where files are: on this machine, or wherever fsspec reaches (``s3://``, ``gs://``, ...).

A recording elsewhere is fetched whole into a temporary file, because decoders jump about in it;
one at a time, so neither disk nor memory fills up. An object store cannot append to a file, so
what is written there is written whole.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from glob import glob
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from ark_asr.errors import (
    ArkError,
    AudioError,
    AudioNotFoundError,
    MissingExtraError,
    OptionError,
)
from ark_asr.models.transport import is_offline
from ark_asr.writers import write_atomic

# One letter before the colon is a drive of Windows.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_OF_THIS_MACHINE = frozenset({"file", "local", "memory"})
_WITH_FOLDERS = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs"})


def is_remote(path: str) -> bool:
    """Whether it is an address for fsspec."""
    return _URL.match(path) is not None


def is_elsewhere(path: str) -> bool:
    """Whether it is an address of another machine."""
    return is_remote(path) and path.partition(":")[0].lower() not in _OF_THIS_MACHINE


def join(folder: str, name: str) -> str:
    """The path of a file in a folder."""
    if not is_remote(folder):
        return str(Path(folder, name))
    return f"{folder.rstrip('/')}/{PurePosixPath(name)}"


def parent(path: str) -> str:
    """The folder that a path is in."""
    if not is_remote(path):
        return str(Path(path).parent)
    return _without_query(path).rstrip("/").rpartition("/")[0]


def suffix(path: str) -> str:
    """Of a file's name, in small letters, with its dot."""
    return PurePath(_without_query(path)).suffix.lower()


def _without_query(path: str) -> str:
    """An address of the web without what stands behind its path, such as a signature."""
    return path.partition("?")[0] if _WEB.match(path) else path


def open_read(path: str) -> IO[bytes]:
    """A file, wherever it is, to read.

    Raises:
        OptionError: It cannot be read, or nothing here can reach it.
        MissingExtraError: fsspec is not installed.
    """
    if not is_remote(path):
        try:
            return Path(path).open("rb")
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror or error})") from None
    system, name = reach(path)
    with _named(path, "read"):
        opened: IO[bytes] = system.open(name, "rb")
    return opened


def exists(path: str) -> bool:
    """Whether there is a file.

    Raises:
        OptionError: Nothing here can reach the place.
    """
    if not is_remote(path):
        return Path(path).is_file()
    system, name = reach(path)
    with _named(path, "read"):
        return bool(system.isfile(name))


def names_in(folder: str) -> list[str]:
    """Names of the files of a folder, sorted; none if there is no such folder.

    Raises:
        OptionError: It cannot be read.
    """
    if not is_remote(folder):
        path = Path(folder)
        return sorted(file.name for file in path.iterdir()) if path.is_dir() else []
    system, name = reach(folder)
    with _named(folder, "read"):
        system.invalidate_cache()
        try:
            found = system.ls(name, detail=False)
        except FileNotFoundError:
            return []
    return sorted(PurePosixPath(file.rstrip("/")).name for file in found)


def matching(pattern: str) -> list[str]:
    """Paths that fit a pattern with ``*``, ``?`` or ``[]``, sorted.

    Raises:
        OptionError: The place cannot be read.
    """
    if not is_remote(pattern):
        return sorted(glob(pattern))  # noqa: PTH207 - Path.glob takes no absolute pattern
    system, name = reach(pattern)
    with _named(pattern, "read"):
        return sorted(system.unstrip_protocol(found) for found in system.glob(name))


def beneath(folder: str) -> list[str]:
    """Addresses of all files beneath a folder elsewhere, sorted.

    Raises:
        OptionError: It cannot be read.
    """
    system, name = reach(folder)
    with _named(folder, "read"):
        return sorted(system.unstrip_protocol(found) for found in system.find(name))


def write_whole(path: str, content: bytes) -> None:
    """Write a file that is there whole or not at all; folders are made.

    Raises:
        OptionError: It cannot be written.
    """
    if not is_remote(path):
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        except OSError as error:
            raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from None
        return
    system, name = reach(path)
    with _named(path, "written"):
        if path.partition(":")[0].lower() in _WITH_FOLDERS:  # elsewhere it would make a bucket
            system.makedirs(parent(name), exist_ok=True)
        system.pipe_file(name, content)


def prepare_folder(folder: str) -> None:
    """Make a folder, and see that it can be written before hours are spent for it.

    Raises:
        OptionError: It cannot.
    """
    probe = join(folder, ".writable")
    write_whole(probe, b"")
    with contextlib.suppress(OptionError):  # who may write may yet not delete
        remove([probe])


def join_whole(path: str, parts: list[str]) -> None:
    """Write the content of files, one after the other, into another, whole or not at all.

    Raises:
        OptionError: One cannot be read, or it cannot be written.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder, "whole")
            with whole.open("wb") as file:
                _pour(parts, file)
            system, name = reach(path)
            with _named(path, "written"):  # closed: on Windows nobody can read it else
                system.put_file(str(whole), name)
        return
    target = Path(path)
    near = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with near.open("wb") as file:
            _pour(parts, file)
            file.flush()
            os.fsync(file.fileno())
        near.replace(target)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        near.unlink(missing_ok=True)


def _pour(parts: list[str], target: IO[bytes]) -> None:
    for part in parts:
        with open_read(part) as source:
            shutil.copyfileobj(source, target)


def remove(paths: list[str]) -> None:
    """Delete files; those that are not there are none to delete.

    Raises:
        OptionError: One cannot be deleted.
    """
    for path in paths:
        if not is_remote(path):
            Path(path).unlink(missing_ok=True)
            continue
        system, name = reach(path)
        with _named(path, "deleted"), contextlib.suppress(FileNotFoundError):
            system.rm_file(name)


def remove_folder(folder: str) -> None:
    """Delete a folder if it is empty; an object store has none to delete."""
    if not is_remote(folder):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


@contextlib.contextmanager
def recording(path: str) -> Iterator[str | BinaryIO]:
    """A recording as something to open; what was fetched for it is gone afterwards."""
    if not is_remote(path):
        yield path
        return
    with RemoteFile(path) as file:
        yield cast("BinaryIO", file)


class RemoteFile(io.RawIOBase):
    """A recording elsewhere, fetched when it is first read.

    Reading raises `AudioError` if it cannot be fetched.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._fetched: IO[bytes] | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever is writable memory
        """The next bytes."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def close(self) -> None:
        """Delete what was fetched."""
        if self._fetched is not None:
            self._fetched.close()
        super().close()

    @property
    def _file(self) -> IO[bytes]:
        if self._fetched is None:
            self._fetched = self._fetch()
        return self._fetched

    def _fetch(self) -> IO[bytes]:
        with contextlib.ExitStack() as unless_all_is_well:
            file = unless_all_is_well.enter_context(tempfile.TemporaryFile())
            try:
                system, name = reach(self.name)
                with system.open(name, "rb") as source:
                    shutil.copyfileobj(source, file)
            except FileNotFoundError:
                raise AudioNotFoundError(f"{self.name}: no such file") from None
            except Exception as error:  # noqa: BLE001 - a store's library raises what it likes
                raise AudioError(_one_line(self.name, "read", error)) from None
            unless_all_is_well.pop_all()
        file.seek(0)
        return file


@contextlib.contextmanager
def _named(path: str, what: str) -> Iterator[None]:
    """Turn whatever a store's library raises into one line that names the path."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        raise OptionError(_one_line(path, what, error)) from None


def _one_line(path: str, what: str, error: Exception) -> str:
    if isinstance(error, ArkError):
        return str(error)
    why = "no such file" if isinstance(error, FileNotFoundError) else str(error) or repr(error)
    return f"{path}: cannot be {what} ({' '.join(why.split())})"


def reach(path: str) -> tuple[Any, str]:
    """The file system of an address, and its name there.

    Raises:
        OptionError: It is not known, needs a package, or is across the network when offline.
        MissingExtraError: fsspec is not installed.
    """
    scheme = path.partition(":")[0].lower()
    if is_elsewhere(path) and is_offline():
        raise OptionError(f"{path}: is not reached with --offline; copy it to this machine")
    try:
        core = import_module("fsspec.core")
    except ModuleNotFoundError:
        raise MissingExtraError(f"{scheme}:// paths", "files") from None
    try:
        system, name = core.url_to_fs(path)
    except ImportError as error:  # such as: install s3fs to access S3
        raise OptionError(f"{path}: {scheme}:// needs another package ({error})") from None
    except Exception as error:  # noqa: BLE001 - a store's library raises what it likes
        raise OptionError(_one_line(path, "read", error)) from None
    return system, str(name)

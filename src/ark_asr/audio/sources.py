"""Where sound comes from: paths, standard input, bytes, file objects, and headerless samples.

Everything that is not an array becomes an `Input`: something PyAV can open, with the name that
errors and warnings use. Nothing here reads more of a recording than its first bytes, except for MP4
files that arrive through a pipe: their index may be at the end, so they are first written to a
temporary file.
"""

from __future__ import annotations

import errno
import inspect
import io
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, cast
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ark_asr.audio.sniff import describes_itself, is_mp4, may_be_mpeg
from ark_asr.errors import AudioError, AudioNotFoundError, printable
from ark_asr.types import Audio


class Readable(Protocol):
    """A binary file object; one that can also ``seek`` is read from its start."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


Source: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | NDArray[np.generic] | Audio
)

RAW_SUFFIXES = frozenset({".raw", ".pcm"})
RAW_RATE = 16_000
# Bytes that are looked at first: of a pipe no more than must come before anything can be said.
_PIPE_HEAD, _HEAD = 12, 8192
# A Path of an address has lost one of the slashes.
_CURL = ("http", "https", "ftp")
_ADDRESS = re.compile(r"(https?|ftp|file|[a-z][a-z0-9+.-]+(?=://)):/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Input:
    """Something PyAV can open.

    Attributes:
        file: A ``file:`` URL or a binary file object.
        name: What the user calls it.
        seekable: Whether it can be read from the start again.
        raw_rate: Hz of headerless signed 16-bit little-endian mono samples; ``None`` if the content
            describes itself.
        notes: Warnings about how it is read.
        close: Gives back what was opened here; a caller's own file object stays open.
    """

    file: str | BinaryIO
    name: str
    seekable: bool
    raw_rate: int | None = None
    notes: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None


def name_of(source: Source) -> str:
    """What errors and warnings call a source."""
    if isinstance(source, str | os.PathLike):
        return "stdin" if source == "-" else os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, Audio):
        return "Audio"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "stream"


def readable_again(source: Source) -> bool:
    """Whether it can be opened a second time; standard input and other pipes cannot."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return source != "-" and not path.is_fifo() and not path.is_char_device()
    return not callable(getattr(source, "read", None)) or _seekable(source)


def open_input(source: Source, source_rate: int | None) -> Input:
    """Find out what ``source`` is and check what can be checked before decoding.

    Raises:
        AudioNotFoundError: There is no such file.
        AudioError: It is a directory, not permitted, empty, or of a type that is no sound.
    """
    name = name_of(source)
    if isinstance(source, str | os.PathLike):
        if source == "-":
            pipe = getattr(sys.stdin, "buffer", None)
            if pipe is None:
                raise AudioError(f"{name}: there is no standard input here; name a file")
            return _from_stream(pipe, name, source_rate)
        return _from_path(name, source_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_stream(io.BytesIO(bytes(source)), name, source_rate)
    if isinstance(source, io.TextIOBase):
        raise AudioError(f"{name}: is a text file object; open it in mode 'rb'")
    if callable(getattr(source, "read", None)):
        return _from_stream(cast("BinaryIO", source), name, source_rate)
    raise AudioError(
        f"{type(source).__name__} is no sound: give a path, '-', bytes, a binary file object, "
        "a numpy array with its source_rate, or an Audio"
    )


def _from_path(name: str, source_rate: int | None) -> Input:
    path = Path(name)
    if not name:  # a Path of it would be the current folder
        raise AudioNotFoundError("'': no such file")
    try:
        mode = path.stat().st_mode
        file = None if stat.S_ISDIR(mode) else path.open("rb")
    except FileNotFoundError:
        raise AudioNotFoundError(f"{name}: {_why_missing(name)}") from None
    except PermissionError:
        raise AudioError(f"{name}: not permitted to read it") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # Windows has no file of such a name, as "a?b" or "https:"
            raise AudioNotFoundError(f"{name}: {_why_missing(name)}") from None
        raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from None
    except ValueError:  # a null byte in the name
        raise AudioNotFoundError(f"{name!r}: no such file") from None
    if file is None:
        raise AudioError(f"{name}: is a directory; name a file in it")
    if not stat.S_ISREG(mode):  # a named pipe or a device: read once, as it comes
        return _from_device(file, name, source_rate)
    with file:
        head = _read(file, name, _HEAD)
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes)")
    # The prefix keeps a name such as "a:b.wav" from being taken for a network protocol.
    found = Input(f"file:{name}", name, seekable=True)
    if path.suffix.lower() in RAW_SUFFIXES and not describes_itself(head):
        note = f"{name}: has no header; read as 16-bit little-endian mono at {RAW_RATE} Hz"
        notes = () if source_rate else (note,)
        return replace(found, raw_rate=source_rate or RAW_RATE, notes=notes)
    if source_rate is not None:
        raise AudioError(f"{name}: names its own rate; source_rate is for arrays and raw samples")
    return found


def _why_missing(name: str) -> str:
    """Nobody has such a file; whoever gives an address may expect that it is fetched."""
    scheme = address[1].lower() if (address := _ADDRESS.match(name)) else ""
    if scheme == "file":
        path = printable(
            unquote(re.sub(r"file:(//[^/]*)?", "", name, count=1, flags=re.IGNORECASE))
        )
        return f"is an address; give the path of the file{': ' if path else ''}{path}"
    if scheme in _CURL:
        url = re.sub(":/+", "://", name, count=1)
        pipe = f"curl -s {shlex.quote(url)} | ark-asr transcribe -"
        return (
            f"is an address, and addresses are not fetched; download it first, or pipe it: {pipe}"
        )
    if scheme:
        return "is an address, and addresses are not fetched; download it first and give its path"
    return "no such file"


def _from_device(file: BinaryIO, name: str, source_rate: int | None) -> Input:
    """A stream that was opened here, so it is closed with what was made of it."""
    try:
        found = _from_stream(file, name, source_rate)
    except BaseException:
        file.close()
        raise

    def close() -> None:
        found.close()
        file.close()

    return replace(found, close=close)


def _from_stream(file: BinaryIO, name: str, source_rate: int | None) -> Input:
    try:
        seekable = _seekable(file)
        if seekable:
            file.seek(0)
    except AudioError:  # of one that fetches what is first read
        raise
    except (OSError, ValueError) as error:  # a file that is closed raises the latter
        raise AudioError(f"{name}: cannot be read ({error})") from None
    head = _read(file, name, _HEAD if seekable else _PIPE_HEAD)
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes)")
    if source_rate is not None:
        if not seekable and may_be_mpeg(head):  # of bare samples hardly any pipe begins so
            head += _read(file, name, _HEAD - len(head))
        if describes_itself(head):
            raise AudioError(
                f"{name}: names its own rate; source_rate is for arrays and raw samples"
            )
    if seekable:
        file.seek(0)
        return Input(
            cast("BinaryIO", _Seekable(file, name)), name, seekable=True, raw_rate=source_rate
        )
    piped = cast("BinaryIO", _Pipe(head, file, name))
    if not is_mp4(head):
        return Input(piped, name, seekable=False, raw_rate=source_rate)
    spool = _spooled(piped, name)
    return Input(spool, name, seekable=True, close=spool.close)


def _spooled(pipe: BinaryIO, name: str) -> BinaryIO:
    """The rest of a stream in a temporary file, which is gone when it is closed."""
    try:
        with ExitStack() as opened:
            spool = opened.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(pipe, spool)
            spool.seek(0)
            opened.pop_all()
            return cast("BinaryIO", spool)
    except OSError as error:
        raise AudioError(
            f"{name}: cannot be put into a temporary file ({error.strerror or error})"
        ) from None


def _seekable(file: object) -> bool:
    check, *others = (getattr(file, name, None) for name in ("seekable", "seek", "tell"))
    return callable(check) and all(map(callable, others)) and bool(check())


def _read(file: BinaryIO, name: str, size: int) -> bytes:
    data = b""
    try:
        while len(data) < size and (more := file.read(size - len(data))):
            data += _checked(more, name)
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from None
    return data


def _checked(data: object, name: str) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        raise AudioError(f"{name}: gives text, not bytes; open it in mode 'rb'")
    if inspect.iscoroutine(data):
        data.close()  # or Python would warn that nobody awaited it
        raise AudioError(f"{name}: its read() must be awaited; do that, and give the bytes")
    raise AudioError(f"{name}: gives {type(data).__name__}, not bytes")


class _Pipe:
    """The rest of a stream after its first bytes were looked at; it can only be read on.

    It deliberately has no ``seek``: PyAV then tells the demuxer that there is none.
    """

    def __init__(self, head: bytes, file: BinaryIO, name: str) -> None:
        self._ahead = memoryview(head)
        self._read = getattr(file, "read1", file.read)
        self._name = name

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; what has arrived is not held back until ``size`` is full."""
        data = self._ahead or memoryview(_checked(self._read(size), self._name))
        self._ahead = data[size:]
        return bytes(data[:size])


class _Seekable:
    """A caller's file object; PyAV copies what is read to a place of the size that it asked for."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self.name = getattr(file, "name", "<none>")  # tells PyAV of the format
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        data = _checked(self._file.read(size), self._name)
        if len(data) > size:
            raise AudioError(f"{self._name}: gives more bytes than it is asked for")
        return data

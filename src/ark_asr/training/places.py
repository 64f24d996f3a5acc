"""Where manifests and sound are: on this computer, or wherever fsspec reaches.

``s3://`` needs s3fs, ``gs://`` gcsfs, and so on; fsspec itself is there with huggingface_hub.
"""

from __future__ import annotations

import time
from pathlib import Path

from ark_asr.errors import OptionError
from ark_asr.models.hub import is_offline

_ATTEMPTS = 3
_FIRST_PAUSE = 0.5  # seconds


def is_remote(place: str) -> bool:
    """Whether a place has a scheme, such as ``s3://``."""
    return "://" in place


def beside(place: str, name: str) -> str:
    """What a manifest at ``place`` means by ``name``."""
    if is_remote(name) or not is_remote(place):
        return name if is_remote(name) else str(Path(place).parent / name)
    return f"{place.rpartition('/')[0]}/{name}"


def read_text(place: str) -> str:
    """A whole text file.

    Raises:
        OSError: It cannot be read.
        OptionError: What it takes is not installed, or connections are not allowed.
    """
    return read_bytes(place).decode("utf-8")


def read_bytes(place: str, span: tuple[int, int] | None = None) -> bytes:
    """A file, or ``span``, the first byte and the number of bytes.

    What is far is asked for up to three times; errors as for `read_text`.
    """
    if is_remote(place):
        return _fetch(place, span)
    with Path(place).open("rb") as file:
        if span is None:
            return file.read()
        file.seek(span[0])
        data = file.read(span[1])
    if len(data) < span[1]:
        raise OSError(f"ends before byte {sum(span)}")
    return data


def _fetch(place: str, span: tuple[int, int] | None) -> bytes:
    if is_offline():
        raise OptionError(f"offline: {place} is not opened")
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise OptionError(f"{place}: {error}") from None
    first, end = (None, None) if span is None else (span[0], sum(span))
    for attempt in range(_ATTEMPTS):
        try:
            return bytes(system.cat_file(path, start=first, end=end))
        except FileNotFoundError:
            raise FileNotFoundError(f"{place}: no such file") from None
        except Exception as error:  # noqa: BLE001 - each file system raises what it likes
            if attempt == _ATTEMPTS - 1:
                raise OSError(f"{place}: {error!r}") from None
            time.sleep(_FIRST_PAUSE * 2**attempt)
    raise AssertionError

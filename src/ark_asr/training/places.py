"""Where manifests and sound of a training run are: here, or wherever fsspec reaches.

What an address is and how it is reached is that of `batch.places`. A run that takes days asks a
second and third time, and reads the part of a shard that one clip is in.
"""

from __future__ import annotations

import time
from pathlib import Path

from ark_asr.batch.places import is_remote, join, parent, reach

_ATTEMPTS = 3
_FIRST_PAUSE = 0.5  # seconds


def beside(place: str, name: str) -> str:
    """What a manifest at ``place`` means by ``name``."""
    return name if is_remote(name) or Path(name).is_absolute() else join(parent(place), name)


def read_bytes(place: str, span: tuple[int, int] | None = None) -> bytes:
    """A file, or ``span``, the first byte and the number of bytes.

    What is far is asked for up to three times.

    Raises:
        OSError: It cannot be read, or ends too early.
        OptionError: What it takes is not installed, or connections are not allowed.
    """
    if is_remote(place):
        data = _fetch(place, span)
    else:
        with Path(place).open("rb") as file:
            if span is not None:
                file.seek(span[0])
            data = file.read(-1 if span is None else span[1])
    if span is not None and len(data) < span[1]:
        raise OSError(f"ends before byte {sum(span)}")
    return data


def _fetch(place: str, span: tuple[int, int] | None) -> bytes:
    system, path = reach(place)
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

"""Arrays in numpy's own files, read without ever unpickling anything.

An ``.npy`` file is a header and raw numbers; an ``.npz`` file is a zip of them. Both can also hold
pickled objects, and those run code when they are read: here they are refused.
Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.types import FloatArray

# Of one array inside an .npz, unpacked. A zip can claim to hold more than any memory.
_MAX_MEMBER = 1 << 28


def map_npy(path: Path, dimensions: int) -> FloatArray:
    """Map a float32 ``.npy`` file into memory, read-only.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: It holds something else, or less than its header says.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; the model is not complete")
    try:
        array = npy_format.open_memmap(path, mode="r")
    except Exception as error:  # noqa: BLE001 - heads are parsed as Python, which fails in any way
        raise ModelFormatError(f"{path}: not an array of numbers ({_line(error)})") from None
    return _float32(array, dimensions, str(path))


def read_npz(path: Path, dimensions: Sequence[tuple[str, int]]) -> list[FloatArray]:
    """Read float32 arrays of an ``.npz`` file.

    Args:
        path: The file.
        dimensions: Name and number of dimensions of each array; others in the file are not touched.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: An array is missing, is no array of finite float32, or is too large.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; the model is not complete")
    found = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name, count in dimensions:
                found.append(_member(archive, name, count, path))
    except ModelFormatError:
        raise
    except Exception as error:  # noqa: BLE001 - as above, and what is packed in any way
        raise ModelFormatError(f"{path}: not an archive of arrays ({_line(error)})") from None
    return found


def _member(archive: zipfile.ZipFile, name: str, dimensions: int, path: Path) -> FloatArray:
    where = f"{path}: {name}"
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ModelFormatError(f"{where} is missing") from None
    if info.file_size > _MAX_MEMBER:
        raise ModelFormatError(f"{where} takes {info.file_size:,} bytes, at most {_MAX_MEMBER:,}")
    with archive.open(info) as file:
        array = npy_format.read_array(file, allow_pickle=False)
    array = _float32(array, dimensions, where)
    if not np.isfinite(array).all():
        raise ModelFormatError(f"{where} holds values that are not finite")
    return array


def _line(error: Exception) -> str:
    """The first line of what is wrong."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _float32(array: np.ndarray, dimensions: int, where: str) -> FloatArray:
    if array.dtype != np.dtype("<f4") or array.ndim != dimensions:
        raise ModelFormatError(
            f"{where} is {array.dtype} {list(array.shape)}, expected float32 with "
            f"{dimensions} dimension{'s' * (dimensions > 1)}"
        )
    return array

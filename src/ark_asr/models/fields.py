"""JSON files of a model, read as what they are: somebody else's words.

Whatever such a file holds, the answer is a value of the expected kind and size, or one line that
says what was wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

from ark_asr.errors import ModelFormatError, ModelNotFoundError

# A vocabulary of 300,000 words takes a tenth of this.
_MAX_JSON = 64 << 20
# Ids from here on are in no vocabulary, and above 63 bits in no array.
_MAX_ID = 1 << 22


def read_json(path: Path, *, unique: bool = False) -> dict[str, Any]:
    """Read a JSON object; ``unique`` as for `parse_object`.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: It is not a JSON object, or beyond any size that makes sense.
    """
    return parse_object(read_small(path), str(path), unique=unique)


def read_small(path: Path) -> bytes:
    """The content of a file that must fit into memory with room to spare.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: It cannot be read, or is beyond any size that makes sense.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; a model folder needs it")
    try:
        if (size := path.stat().st_size) <= _MAX_JSON:
            return path.read_bytes()
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read ({error.strerror})") from None
    raise ModelFormatError(f"{path}: {size:,} bytes are too many for such a file")


def parse_object(text: bytes, where: str, *, unique: bool = False) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        text: UTF-8.
        where: Named in errors.
        unique: Refuse an object that has a key twice: other readers may take the other one.

    Raises:
        ModelFormatError: It is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if unique and len(found) < len(pairs):
            twice = next(
                key for key, count in Counter(key for key, _ in pairs).items() if count > 1
            )
            raise ValueError(f"{short(twice)} is in it twice")
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise ModelFormatError(f"{where}: not valid JSON (nested too deeply)") from None
    except ValueError as error:  # also of numbers with thousands of digits
        raise ModelFormatError(f"{where}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ModelFormatError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def require(data: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    """Check that all ``keys`` are present with the right type; name every one that is not."""
    wrong = []
    for key, kind in keys.items():
        value = data.get(key)
        if value is None:
            wrong.append(f"{key} is missing")
        elif not isinstance(value, kind) or isinstance(value, bool):
            wrong.append(f"{key} is {short(value)}, expected {kind.__name__}")
    if wrong:
        raise ModelFormatError(f"{where}: {'; '.join(wrong)}")


def whole_numbers(
    data: Mapping[str, Any],
    most: Mapping[str, int],
    where: str,
    defaults: Mapping[str, int] | None = None,
) -> list[int]:
    """Whole numbers from 1 up to a limit, in the order of ``most``.

    Args:
        data: Where they are.
        most: The largest value of each that makes any sense. Larger ones would use up all memory
            before the weights could show that they are wrong.
        where: Named in errors.
        defaults: For keys that may be missing or null.

    Raises:
        ModelFormatError: Names every key that is missing, of another type or out of its range.
    """
    given = {key: value for key in most if (value := data.get(key)) is not None}
    found = {**(defaults or {}), **given}
    require(found, dict.fromkeys(most, int), where)
    wrong = [
        f"{key} is {found[key]}, expected 1 to {top:,}"
        for key, top in most.items()
        if not 1 <= found[key] <= top
    ]
    if wrong:
        raise ModelFormatError(f"{where}: {'; '.join(wrong)}")
    return [found[key] for key in most]


def id_list(found: object, key: str, where: str) -> tuple[int, ...]:
    """Ids of a vocabulary.

    Raises:
        ModelFormatError: It is no list of them.
    """
    if not isinstance(found, list) or not all(map(is_id, found)):
        raise ModelFormatError(f"{where}: {key} is {short(found)}, expected a list of ids")
    return tuple(found)


def is_id(value: object) -> bool:
    """Whether a vocabulary can have such an id."""
    return type(value) is int and 0 <= value < _MAX_ID


def positive(value: object, key: str, where: str) -> float:
    """A finite number above 0.

    Raises:
        ModelFormatError: It is none.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    if not 0 < number < 1e12:
        raise ModelFormatError(f"{where}: {key} is {short(value)}, expected a number above 0")
    return float(number)


def flag(data: Mapping[str, Any], key: str, where: str, *, default: bool) -> bool:
    """True or false; missing and null mean ``default``.

    Raises:
        ModelFormatError: It is neither.
    """
    value = default if data.get(key) is None else data[key]
    if not isinstance(value, bool):
        raise ModelFormatError(f"{where}: {key} is {short(value)}, expected true or false")
    return value


def is_file_name(name: object) -> bool:
    """Whether it can only be a file in the same folder: a path could be any file of the machine."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and Path(name).name == name
        and name != ".."
        and not {"\\", ":"} & set(name)
    )

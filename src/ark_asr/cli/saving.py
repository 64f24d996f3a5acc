"""Results in files that the user names: seen to before the work, written after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ark_asr.errors import OptionError


def check_name(path: Path) -> None:
    """See that it can be a file, and make nothing yet.

    Raises:
        OptionError: It cannot.
    """
    if path.is_dir():
        raise OptionError(f"{path}: is a folder; name a file")


def make_folders(paths: Iterable[Path]) -> None:
    """Make the folders of files, before hours are spent for what goes into them.

    Raises:
        OptionError: One cannot be made.
    """
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from None


def save(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all, and make its folder.

    Raises:
        OptionError: It cannot be written.
    """
    from ark_asr.writers import write_atomic

    make_folders([path])
    try:
        write_atomic(path, content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> OptionError:
    return OptionError(f"{path}: cannot be written ({error.strerror or error})")

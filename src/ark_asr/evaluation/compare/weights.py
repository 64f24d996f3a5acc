"""Whether what a system needs is here, where, and what brings it if it is not.

Only the disk is looked at, unless `fetch` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ark_asr.errors import ArkError, DownloadError, ModelFormatError, ModelNotFoundError
from ark_asr.evaluation.compare.contenders import Contender
from ark_asr.models.catalogue import find
from ark_asr.models.layouts import engine_of
from ark_asr.models.store import resolve

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Here:
    """All that is needed is here.

    Attributes:
        place: What the adapter opens.
        runs_on: What runs it, for people.
        revision: Commit of a repository; ``None`` for any other place.
    """

    place: str
    runs_on: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Something is not here.

    Attributes:
        why: One line.
        command: What to type to have it.
        fetchable: `fetch` can bring it.
    """

    why: str
    command: str
    fetchable: bool = False


def locate(contender: Contender) -> Here | Absent:
    """Look for a system's packages and weights on this computer.

    Raises:
        ModelError: It is neither here nor known at all.
    """
    family = contender.family
    if missing := family.missing:
        why = f"the Python package {missing} is not installed"
        return Absent(why, f"pip install 'ark-asr[{family.extra}]'")
    if family.name == "ark":
        return _ours(contender.place)
    if not family.is_fetched or Path(contender.place).is_dir():
        return Here(contender.place, family.title)
    return _in_cache(contender)


def fetch(contender: Contender) -> None:
    """Bring a repository of the hub here, over the network; nothing in it that can hold code.

    Raises:
        DownloadError: It cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(contender.place, allow_patterns=list(contender.family.files))
    except Exception as error:  # noqa: BLE001 - its errors have changed from release to release
        raise DownloadError(f"{contender.place}: {_first_line(error)}") from None


def bring(
    contender: Contender, fetcher: Callable[[Contender], None] | None = None
) -> Here | Absent:
    """`locate`, with ``fetcher`` where that helps; why it failed becomes the reason.

    Raises:
        ModelError: It is neither here nor known at all.
    """
    found = locate(contender)
    if isinstance(found, Absent) and found.fetchable and fetcher is not None:
        try:
            fetcher(contender)
        except ArkError as error:
            return Absent(str(error), found.command)
        found = locate(contender)
    return found


def _ours(place: str) -> Here | Absent:
    try:
        folder = resolve(place)
    except ModelNotFoundError:
        entry = find(place.partition(":")[0])
        if entry is None:
            raise
        why = f"{place} is not on this computer"
        return Absent(why, f"ark-asr models pull {entry.name}", fetchable=True)
    except ModelFormatError as error:
        return Absent(str(error), "ark-asr models list")
    engine = engine_of(folder.kind)
    if engine == "torch" and find_spec("torch") is None:
        return Absent("a checkpoint needs PyTorch", "pip install 'ark-asr[torch]'")
    return Here(place, f"ark-asr, {engine}")


def _in_cache(contender: Contender) -> Here | Absent:
    """A repository in the cache of huggingface_hub."""
    from huggingface_hub import snapshot_download

    place, family = contender.place, contender.family
    command = f"hf download {place}"
    if contender.facts.gated:
        command = f"accept the conditions at {_HUB}/{place}, then: hf auth login && {command}"
    try:
        folder = Path(
            snapshot_download(place, allow_patterns=list(family.files), local_files_only=True)
        )
    except Exception as error:  # noqa: BLE001 - not there, or not a name at all
        why = f"{place} is not on this computer"
        if place.count("/") != 1:
            raise ModelNotFoundError(
                f"{place}: is neither a folder nor a repository ({_first_line(error)})"
            ) from None
        return Absent(why, command, fetchable=True)
    if not any(file for pattern in family.weights for file in folder.rglob(pattern)):
        return Absent(f"{place}: only part of it is here", command, fetchable=True)
    return Here(str(folder), family.title, folder.name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".strip(": ")

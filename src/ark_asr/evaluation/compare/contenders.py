"""What is to be compared: ``[LABEL=][FAMILY:]PLACE[@PRECISION]``.

The facts about known systems are data, in ``known.json`` beside this file. What is not known there
is ``null`` and shown as "unknown"; nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.evaluation.compare.base import FAMILIES, Family

KNOWN_FILE = Path(__file__).with_name("known.json")
FORMAT_VERSION = 1
_LABEL = re.compile(r"(?P<label>[^=/:@#\\]+)=(?P<rest>.+)")
_ADDRESS = re.compile(r"https?://")
_PRECISION = re.compile(r"(?P<rest>.+)@(?P<precision>[a-z0-9_]+)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a user wants to know of a system before he takes it.

    Attributes:
        licence: SPDX name; ``None`` if it is not known.
        languages: ISO 639 codes; ``None`` if they are not known.
        gated: Whether its publisher asks for a login and consent; ``None`` if it is not known.
        remote_code: Whether code of the publisher must be run *in the way it is run here*; ``None``
            for a server, which does not tell.
        note: What else must be said; may be empty.
    """

    licence: str | None = None
    languages: tuple[str, ...] | None = None
    gated: bool | None = None
    remote_code: bool | None = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Contender:
    """One system to compare.

    Attributes:
        label: What it is called in tables; also the name of its file of predictions.
        place: A folder, a repository of the hub, a model's name, or a server's address.
        precision: One of the family's; empty where the folder decides.
    """

    label: str
    family: Family
    place: str
    precision: str
    facts: Facts

    @property
    def slug(self) -> str:
        """The label as the name of a file."""
        return re.sub(r"[^\w.-]+", "_", self.label).strip("._") or "system"


@dataclass(frozen=True, slots=True)
class Known:
    """A system that can be asked for by its name."""

    name: str
    family: str
    place: str
    facts: Facts


@cache
def known() -> dict[str, Known]:
    """All known systems by name, in the order of the file."""
    return {one.name: one for one in read_known(KNOWN_FILE)}


def read_known(path: Path) -> list[Known]:
    """Read such a file.

    Raises:
        ModelFormatError: It is not what it must be; the place is named.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("format_version") != FORMAT_VERSION:
        raise ModelFormatError(f"{path}: format version is not {FORMAT_VERSION}")
    return [_known(raw, f"{path}: system {number}") for number, raw in enumerate(data["systems"])]


def parse(specs: Sequence[str]) -> list[Contender]:
    """The systems that a user asks for.

    Raises:
        OptionError: One is not known or makes no sense, or two have one label.
    """
    contenders = [parse_one(spec) for spec in specs]
    slugs = [one.slug.casefold() for one in contenders]
    if twice := next((one.label for one in contenders if slugs.count(one.slug.casefold()) > 1), ""):
        raise OptionError(f"two systems are called {twice}; name one of them: NAME={twice}")
    return contenders


def parse_one(spec: str) -> Contender:
    """One system; see the module.

    Raises:
        OptionError: It is not known, or its family has no such precision.
    """
    named = _LABEL.fullmatch(spec)
    label, rest = (named["label"], named["rest"]) if named else ("", spec)
    if _ADDRESS.match(rest):
        return _contender(label or rest, "server", rest, "", Facts(remote_code=None))
    wanted, precision = rest, ""
    if with_precision := _PRECISION.fullmatch(rest):
        wanted, precision = with_precision["rest"], with_precision["precision"]
    if one := known().get(wanted):
        return _contender(label or rest, one.family, one.place, precision, one.facts)
    name, colon, place = wanted.partition(":")
    if colon and place and name in FAMILIES:
        facts = Facts(remote_code=None) if name == "server" else Facts()
        short = rest.replace(place, Path(place).name) if Path(place).is_dir() else rest
        return _contender(label or short, name, place, precision, facts)
    one = known().get(name)  # a variant of one of ours, such as ark-asr-0.6b:int8
    facts = one.facts if one and one.family == "ark" else Facts()
    return _contender(label or rest, "ark", wanted, precision, facts)


def _contender(label: str, family: str, place: str, precision: str, facts: Facts) -> Contender:
    found = FAMILIES[family]
    if precision and precision not in found.precisions:
        can = f"takes one of {', '.join(found.precisions)}" if found.precisions else "takes none"
        raise OptionError(f"{label}: precision {precision!r} is not known; {family} {can}")
    return Contender(label, found, place, precision or next(iter(found.precisions), ""), facts)


def _known(raw: Any, where: str) -> Known:  # noqa: ANN401 - whatever the file holds
    kinds: dict[str, tuple[type, ...]] = {
        "name": (str,), "family": (str,), "place": (str,), "licence": (str, type(None)),
        "languages": (list, type(None)), "gated": (bool, type(None)),
        "remote_code": (bool, type(None)), "note": (str,),
    }  # fmt: skip
    if not isinstance(raw, dict) or set(raw) != set(kinds):
        raise ModelFormatError(f"{where}: must be an object with {', '.join(kinds)}")
    if wrong := [key for key, kind in kinds.items() if not isinstance(raw[key], kind)]:
        raise ModelFormatError(f"{where}: wrong {', '.join(wrong)}")
    if raw["family"] not in FAMILIES:
        raise ModelFormatError(f"{where}: family {raw['family']!r} is not known")
    languages = raw["languages"]
    facts = Facts(
        raw["licence"], None if languages is None else tuple(languages), raw["gated"],
        raw["remote_code"], raw["note"],
    )  # fmt: skip
    return Known(raw["name"], raw["family"], raw["place"], facts)

"""What a command line says in place of a recipe, so that one recipe serves many machines."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_asr.errors import OptionError
from ark_asr.models.home import expand


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values that go before those of a recipe.

    Attributes:
        start: Checkpoint folder to start from.
        output: Folder for what comes out.
        train: Manifests to learn from, instead of the recipe's.
        dev: Manifests to score, instead of the recipe's.
        settings: Others, as ``optim.steps=500``; what follows the sign is TOML, or plain text.
    """

    start: Path | None = None
    output: Path | None = None
    train: tuple[Path | str, ...] = ()
    dev: tuple[Path | str, ...] = ()
    settings: tuple[str, ...] = ()

    def apply(self, table: dict[str, Any]) -> dict[str, Any]:
        """The tables of a recipe with these values; paths are relative to the current folder.

        Raises:
            OptionError: A setting is not one.
        """
        table = copy.deepcopy(table)
        for name, path in (("start", self.start), ("output", self.output)):
            if path is not None:
                table[name] = _place(path)
        if self.train:
            _inside(table, ["data"])["train"] = [{"manifest": _place(path)} for path in self.train]
        if self.dev:
            _inside(table, ["data"])["dev"] = [_place(path) for path in self.dev]
        for setting in self.settings:
            key, sign, value = setting.partition("=")
            *tables, name = key.strip().split(".")
            if not sign or not name:
                raise OptionError(f"--set {setting}: must be like optim.steps=500")
            _inside(table, tables)[name] = _value(value.strip())
        return table


def _place(path: Path | str) -> str:
    return str(path) if "://" in str(path) else str(expand(path).resolve())


def _inside(table: dict[str, Any], names: list[str]) -> dict[str, Any]:
    for name in names:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise OptionError(f"--set: {name} is no table of the recipe")
    return table


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

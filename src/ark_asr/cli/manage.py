"""``ark-asr models list, info, path, verify, remove, export, import``: the store of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.transfer import ByteLine
from ark_asr.errors import ModelNotFoundError, OptionError

if TYPE_CHECKING:
    from ark_asr.models.catalogue import Entry
    from ark_asr.models.home import Installed

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a model, or NAME:VARIANT.")]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def list_() -> None:
    """Names that `--model` takes, then those that can be pulled."""
    with outcome():
        from ark_asr.models.catalogue import catalogue
        from ark_asr.models.home import installed
        from ark_asr.models.store import DEFAULT_MODEL, survey

        models, damaged = survey()
        for model in models:
            variant = model.precision or model.kind
            mark = ""
            if model.name == DEFAULT_MODEL:  # one in the store does not take its place
                mark = "  (default)" if model.embedded else f"  (--model {model.name}:{variant})"
            typer.echo(f"{model.name:<26}{variant:<14}{_size(model.size):>10}{mark}")
        for broken in damaged:
            one = broken.installed
            note = f"damaged; ark-asr models remove {one}"
            typer.echo(f"{one.name:<26}{one.variant:<14}{_size(one.size):>10}  ({note})")
            say(broken.why)
        for other in installed():
            entry = _entry(other.name)
            if entry and not (entry.runs and entry.transcribes):
                note = "for --speakers auto" if entry.runs else "cannot be run yet"
                size = _size(other.size)
                typer.echo(f"{other.name:<26}{other.variant:<14}{size:>10}  ({note})")
        here = {one.name for one in installed()}
        for entry in catalogue():
            if entry.name not in here:
                note = "can be pulled" if entry.runs else "cannot be run yet"
                size = _size(entry.download_bytes)
                typer.echo(f"{entry.name:<26}{'-':<14}{size:>10}  ({note}; {entry.licence.spdx})")


def info(name: Name) -> None:
    """What is known of a model: source, licence, languages, memory, files."""
    with outcome():
        from ark_asr.models.store import resolve

        entry, here = _entry(name), _stored(name)
        if entry is None and not here:
            model = resolve(name)
            typer.echo(f"name         {model.name}\nkind         {model.kind}")
            typer.echo(f"precision    {model.precision or 'as stored'}")
            typer.echo(f"here         {model.path} ({_size(model.size)})")
            typer.echo(_calibration(model.path))
            return
        if entry is not None:
            for line in _about(entry):
                typer.echo(line)
        for one in here:
            typer.echo(f"here         {one.variant}: {one.path} ({_size(one.size)})")
            typer.echo(_calibration(one.path))
        if not here:
            typer.echo(f"here         no; ark-asr models pull {name}")


def path(name: Name) -> None:
    """Print the folder of a model that is here."""
    with outcome():
        typer.echo(_folders(name)[0])


def verify(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Of a model that is here.")],
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Hash every file of a model and compare with what was recorded."""
    with outcome():
        from ark_asr.models.archive import files_of
        from ark_asr.models.archive import verify as check

        for folder in _folders(name):
            total = sum(file.size for file in files_of(folder).values())
            with ByteLine(folder.name, total, show=not quiet) as line:
                check(folder, line.more)
            typer.echo(f"{folder}: every file is as recorded")


def remove(name: Name) -> None:
    """Delete a model, all variants of it unless one is named."""
    with outcome():
        from ark_asr.models import home, store

        if not home.find_all(name) and any(name == model.name for model in store.list_models()):
            raise OptionError(f"{name} is part of this program and cannot be removed")
        freed = sum(one.size for one in home.find_all(name))
        for one in home.remove(name):
            say(f"{one.path} is deleted")
        say(f"{_size(freed)} are free again")


def export(
    name: Name,
    dest: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="[default: NAME-VARIANT.tar]")
    ] = None,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write a model as one archive, for a computer without a network.

    The SHA-256 on standard output is what `import --sha256` takes.
    """
    with outcome():
        from ark_asr.models.archive import export_model, files_of

        model = _installed(name)
        dest = dest or Path(f"{model.name}-{model.variant}.tar")
        total = sum(file.size for file in files_of(model.path).values())
        with ByteLine(dest.name, total, show=not quiet) as line:
            written = export_model(model, dest, line.more)
        typer.echo(f"{written.sha256}  {dest}")


def import_(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote.")],
    *,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Refuse an archive of another SHA-256.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is here.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Check an archive and put its model into the store."""
    with outcome():
        from ark_asr.models.archive import import_model
        from ark_asr.models.package import hash_file

        if not archive.is_file():
            raise ModelNotFoundError(f"{archive}: no such file")
        if sha256 is not None and (found := hash_file(archive).sha256) != sha256.lower():
            raise OptionError(f"{archive}: SHA-256 is {found}, not {sha256.lower()}; refused")
        with ByteLine(archive.name, archive.stat().st_size, show=not quiet) as line:
            model = import_model(archive, overwrite=overwrite, progress=line.more)
        say(f"{model} is in {model.path}")
        if (entry := _entry(model.name)) and not entry.licence.commercial:
            say(f"its licence is {entry.licence.spdx}: {entry.licence.note}")


def _calibration(folder: Path) -> str:
    """What word times and confidence rest on."""
    from ark_asr.models.calibration import Calibration

    found = Calibration.load(folder)
    nothing = "none: confidence is the model's own probability; see `ark-asr models calibrate`"
    return f"calibration  {found.basis if found else nothing}"


def _entry(name: str) -> Entry | None:
    from ark_asr.models.catalogue import find

    return find(name.partition(":")[0])


def _folders(name: str) -> list[Path]:
    """All variants of a model in the store, or the one folder that is meant."""
    from ark_asr.models.store import resolve

    return [one.path for one in _stored(name)] or [resolve(name).path]


def _stored(name: str) -> list[Installed]:
    """Its variants in the store, best first; there, none takes the place of the embedded model."""
    from ark_asr.models.home import lookup
    from ark_asr.models.store import DEFAULT_MODEL

    return [] if name == DEFAULT_MODEL else lookup(name)


def _installed(name: str) -> Installed:
    """The variant that is meant, embedded models included.

    Raises:
        ModelNotFoundError: There is none.
        OptionError: It is a folder without hashes.
    """
    from ark_asr.models.home import Installed
    from ark_asr.models.store import resolve

    if here := _stored(name):
        return here[0]
    model = resolve(name)
    if model.precision is None:
        raise OptionError(f"{name}: only packages and models of the store can be exported")
    return Installed(model.name, model.precision, model.path)


def _about(entry: Entry) -> list[str]:
    terms = "" if entry.licence.commercial else ", NOT FOR COMMERCIAL USE"
    runs = "" if entry.runs else ", which this version cannot run yet"
    lines = [
        f"name         {entry.name}",
        f"also         {', '.join(entry.aliases)}",
        f"what         {entry.description}",
        f"layout       {entry.layout}{runs}",
        f"licence      {entry.licence.spdx}{terms}",
        *([f"             {entry.licence.note}"] if entry.licence.note else []),
        f"languages    {' '.join(entry.languages) or 'any'}",
        f"memory       {_size(entry.memory_bytes)}: {entry.memory_basis}",
        f"download     about {_size(entry.download_bytes)}",
        f"sources      {', '.join(entry.repositories)}",
        f"revision     {entry.revision or 'not pinned: that of the main branch is recorded'}",
    ]
    for file in entry.files:
        size = f"{file.size:,}" if file.size else "size not known"
        sha256 = file.sha256 or "hash of the hub"
        optional = " (if there)" if file.optional else ""
        lines.append(f"file         {file.name}  {size}  {sha256}{optional}")
    if entry.unknown:
        lines.append(f"not known    {entry.unknown}")
    return lines

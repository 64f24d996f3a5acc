"""``ark-asr models pull``: from a name to a model that runs."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.transfer import ByteLine
from ark_asr.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from ark_asr.models.catalogue import Entry

PRECISION: Final = "int8"


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the catalogue; see `ark-asr models list`.")
    ],
    *,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert/--no-convert",
            help="Make an int8 package of a checkpoint, which is what runs fast on a CPU. "
            "--no-convert also fetches models that this version cannot run yet.",
        ),
    ] = True,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Agree to a licence that forbids commercial use."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Open no connection; use what is here.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fetch a model, verify every file of it, and make it ready to run.

    A download that breaks off goes on where it stopped. Only the files that the catalogue names are
    fetched, never code. HF_ENDPOINT names another hub, ARK_ASR_HOME the folder for models.
    """
    with outcome():
        from ark_asr.models import catalogue, home, store
        from ark_asr.models.pull import pull as fetch

        entry = catalogue.find(name)
        if entry is None:
            _has_it_already(name)
            return
        if convert and home.lookup(f"{entry.name}:{PRECISION}"):
            say(f"{entry.name} is here already: {store.resolve(entry.name).path}")
            return
        if convert and not entry.runs:
            raise OptionError(
                f"{entry.name}: this version cannot run its layout ({entry.layout}) yet; "
                "--no-convert fetches it all the same"
            )
        if offline:
            os.environ["ARK_ASR_OFFLINE"] = "1"
        folder = home.place(entry.name, entry.layout)
        if not folder.is_dir():
            _say_licence(entry, accepted=accept_licence)
        with ByteLine(entry.name, show=not quiet) as line:
            fetch(entry, progress=lambda at: line.to(at.done, at.total, f"{entry.name}/{at.file}"))
        say(f"{folder}: every file is verified")
        if not entry.runs:
            say(f"this version cannot run the layout {entry.layout!r} yet")
        elif entry.layout != catalogue.CHECKPOINT:
            say(f"ready: ark-asr transcribe FILE --model {entry.name}")
        elif convert:
            _make_package(entry, folder, quiet=quiet)


def _has_it_already(name: str) -> None:
    """A model that is no part of the catalogue need not be fetched if it came with the program."""
    from ark_asr.models.catalogue import catalogue
    from ark_asr.models.store import list_models

    if name in {model.name for model in list_models()}:
        say(f"{name} is here already")
        return
    known = ", ".join(entry.name for entry in catalogue())
    raise OptionError(f"{name!r} is not in the catalogue; {known} are")


def _say_licence(entry: Entry, *, accepted: bool) -> None:
    """Say what the model may be used for before anything is fetched.

    Raises:
        OptionError: The licence forbids commercial use, and nobody agreed to that.
    """
    licence = entry.licence
    about = f"about {entry.download_bytes / 1e9:.1f} GB"
    say(f"{entry.name}: {about}, licence {licence.spdx}. {licence.note}".rstrip())
    if licence.commercial or accepted:
        return
    say("THIS MODEL MAY NOT BE USED COMMERCIALLY.")
    if sys.stdin.isatty() and typer.confirm(f"Do you accept {licence.spdx}?", err=True):
        return
    raise OptionError(
        f"{entry.name}: not fetched, because its licence ({licence.spdx}, not for commercial use) "
        "was not accepted; agree with --accept-licence"
    )


def _make_package(entry: Entry, folder: Path, *, quiet: bool) -> None:
    from ark_asr.models.home import place

    if importlib.util.find_spec("onnx") is None:
        missing = MissingExtraError(
            f"making the {PRECISION} package, which runs on a CPU,", "convert"
        )
        say(f"{missing}; then pull {entry.name} again, nothing is fetched twice")
        return
    from ark_asr.graphs.convert import build_package

    dest = place(entry.name, PRECISION)
    title = f"{entry.name} -> {PRECISION}"
    total = sum(file.stat().st_size for file in folder.iterdir())
    with ByteLine(title, total, show=not quiet) as line:
        build_package(
            folder,
            dest,
            precision=PRECISION,
            name=entry.name,
            licence=entry.licence.spdx,
            progress=lambda share: line.to(int(share * total), total, title),
        )
    say(f"{dest}: {PRECISION} package, ready: ark-asr transcribe FILE --model {entry.name}")
    say(f"`ark-asr models remove {entry.name}:checkpoint` frees what it was made from")

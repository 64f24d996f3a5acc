"""``ark-asr models pull``: from a name to a model that runs."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ark_asr.cli.convert import PRECISION_HELP, make_package
from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.transfer import ByteLine
from ark_asr.errors import MissingExtraError, ModelError, ModelFormatError, OptionError

if TYPE_CHECKING:
    from ark_asr.models.catalogue import Entry
    from ark_asr.models.home import Installed

# Published layouts that a package is made of; the others run as they are.
CONVERTED: Final = ("checkpoint", "official-int8")


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the catalogue; see `ark-asr models list`.")
    ],
    *,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert/--no-convert",
            help="Make a package of it, which is what runs fast on a CPU. --no-convert also "
            "fetches models that this version cannot run yet.",
        ),
    ] = True,
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Of the package: {PRECISION_HELP} [default: int8]"),
    ] = None,
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
        from ark_asr.models import catalogue, home
        from ark_asr.models.package import PRECISIONS
        from ark_asr.models.pull import pull as fetch

        if precision is not None and precision not in PRECISIONS:
            raise OptionError(
                f"precision {precision!r} is not known; it is one of {', '.join(PRECISIONS)}"
            )
        entry = catalogue.find(name)
        if entry is None:
            _has_it_already(name)
            return
        if precision is not None and not (convert and entry.layout in CONVERTED):
            why = "--no-convert makes none" if not convert else f"none is made of {entry.name}"
            raise OptionError(f"--precision is of a package, and {why}; leave it out")
        precision = precision or "int8"
        if convert and (here := home.lookup(f"{entry.name}:{precision}")):
            _check_whole(here[0])
            say(f"{entry.name} is here already: {here[0].path}")
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
            fetch(
                entry,
                progress=lambda at: line.to(at.done, at.total, f"{entry.name}/{at.file}"),
                waiting=lambda: say(f"{entry.name} is being fetched by another pull; waiting"),
            )
        say(f"{folder}: every file is verified")
        if not entry.transcribes:
            say("for --speakers auto, which needs two models: see `ark-asr models list`")
        elif not entry.runs:
            say(f"this version cannot run the layout {entry.layout!r} yet")
        elif convert and entry.layout in CONVERTED:
            _make_package(entry, folder, precision, quiet=quiet)
        elif entry.layout != catalogue.CHECKPOINT:
            say(f"ready: ark-asr transcribe FILE --model {entry.name}")


def _check_whole(here: Installed) -> None:
    """Whether what need not be made again can be used.

    Raises:
        ModelFormatError: It cannot.
    """
    from ark_asr.models.store import resolve

    try:
        resolve(here.path)
    except ModelError as error:
        raise ModelFormatError(
            f"{error}; first: ark-asr models remove {here}, then pull again"
        ) from None


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
    size = entry.download_bytes
    about = f"about {size / 1e9:.1f} GB" if size >= 1e9 else f"about {size / 1e6:.0f} MB"
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


def _make_package(entry: Entry, folder: Path, precision: str, *, quiet: bool) -> None:
    from ark_asr.models.catalogue import CHECKPOINT
    from ark_asr.models.home import lookup, place

    if importlib.util.find_spec("onnx") is None:
        missing = MissingExtraError(
            f"making the {precision} package, which runs on a CPU,", "convert"
        )
        say(f"{missing}; then pull {entry.name} again, nothing is fetched twice")
        return
    dest = place(entry.name, precision)
    try:
        make_package(
            folder, dest, precision, name=entry.name, licence=entry.licence.spdx, quiet=quiet
        )
    except OptionError:
        if not lookup(f"{entry.name}:{precision}"):
            raise
        # Another pull of the same model was faster.
    except ModelFormatError as error:
        if entry.layout == CHECKPOINT:
            raise
        say(f"{error}; it runs as published, more slowly")
        say(f"ready: ark-asr transcribe FILE --model {entry.name}")
        return
    # Its plain name means the best variant that is here.
    best = lookup(entry.name)[0].variant == precision
    name = entry.name if best else f"{entry.name}:{precision}"
    say(f"{dest}: {precision} package, ready: ark-asr transcribe FILE --model {name}")
    say(f"`ark-asr models remove {entry.name}:{entry.layout}` frees what it was made from")

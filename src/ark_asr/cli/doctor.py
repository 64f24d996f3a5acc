"""``ark-asr doctor``: what this computer has, and whether all is well."""

from __future__ import annotations

import math
import platform
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr import __version__
from ark_asr.cli.outcome import outcome, say
from ark_asr.errors import ArkError, OptionError

if TYPE_CHECKING:
    from ark_asr.pipeline.health import Computer

_NOT_WELL = 1


def doctor(
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="For the self-test. [default: ark-mini]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. [default: all cores]")
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Length of the self-test; 0 leaves it out.")
    ] = 10.0,
) -> None:
    """Print what this computer has, check every model, and measure the speed.

    The exit code is 1 if a model is damaged.
    """
    with outcome():
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise OptionError(f"seconds is {seconds:g}; it must be a time, or 0 for no self-test")
        from importlib.metadata import version

        from ark_asr.pipeline.health import this_computer

        runtime = f"onnxruntime {version('onnxruntime')}"
        typer.echo(f"ark-asr {__version__}, Python {platform.python_version()}, {runtime}, "
                   f"{platform.system()} {platform.machine()}")  # fmt: skip
        _describe(this_computer())
        well = _check_models()
        if seconds > 0:
            _self_test(model, threads, seconds)
    if not well:
        raise typer.Exit(_NOT_WELL)


def _describe(computer: Computer) -> None:
    if computer.instructions is None:
        known = "this system does not tell its instructions"
    else:
        known = ", ".join(computer.instructions) or "no instructions for int8"
    typer.echo(f"processor    {computer.cpu}: {known}")
    kernel = (
        "fast kernel, exact here" if computer.exact else "slower kernel: the fast one saturates"
    )
    typer.echo(f"int8         {kernel}")
    limit = "" if computer.limit is None else f" (this process may use {computer.limit:g} cores)"
    typer.echo(f"threads      {computer.threads}{limit}")


def _check_models() -> bool:
    """Hash every model that is here; whether all are as recorded."""
    from ark_asr.models.archive import verify
    from ark_asr.models.store import survey

    models, broken = survey()
    for one in broken:
        say(one.why)
        typer.echo(f"model        {one.installed.name} ({one.installed.variant}): damaged")
    well = not broken
    for folder in models:
        name = f"{folder.name} ({folder.precision or folder.kind})"
        try:
            verify(folder.path)
        except ArkError as error:
            well = False
            say(str(error))
            typer.echo(f"model        {name}: damaged")
        else:
            typer.echo(f"model        {name}: every file is as recorded")
    return well


def _self_test(model: str | None, threads: int | None, seconds: float) -> None:
    from ark_asr.pipeline import Recognizer
    from ark_asr.pipeline.health import self_test

    with Recognizer.load(model, threads=threads) as recognizer:
        found = self_test(recognizer, seconds)
        name = recognizer.name
    times, pace = (found.rtf, "slower") if found.rtf > 1 else (1 / found.rtf, "faster")
    digits = 0 if times >= 10 else 1
    typer.echo(f"self-test    {name} hears {found.audio:.1f} s in {found.rtf * found.audio:.2f} s: "
               f"RTF {found.rtf:.3f}, {times:.{digits}f} times {pace} than speech "
               f"(heard {len(found.times)} x)")  # fmt: skip
    typer.echo(f"             {found.text}")

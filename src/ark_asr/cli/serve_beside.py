"""``ark-asr serve start``, ``stop``, ``status``, ``restart``: a server beside the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ark_asr.cli.outcome import outcome
from ark_asr.errors import OptionError
from ark_asr.server import beside, deployed
from ark_asr.server.beside import Place

PORT = 8000
_VLLM = "vllm"

Grace = Annotated[
    float, typer.Option(metavar="S", help="Time for running requests when it is stopped.")
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", metavar="FOLDER", help="Its pid and log file. [default: run/ in the store]"
    ),
]
PortBeside = Annotated[
    int | None, typer.Option("--port", metavar="N", help=f"Which one. [default: {PORT}]")
]
EngineBeside = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME|URL",
        help="As for `ark-asr serve`. With vllm, the variables MODEL, HOST, PORT, GPU, "
        "GPU_MEMORY_UTILIZATION, MAX_NUM_SEQS, MAX_NUM_BATCHED_TOKENS, MAX_MODEL_LEN, "
        "MAX_NEW_TOKENS, RUN_DIR, PID_FILE and LOG_FILE are heeded.",
    ),
]
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
_NOT_RUNNING = 3
_SPARE = 5.0  # seconds beyond the server's own patience


def add_verbs(app: typer.Typer) -> None:
    """Add them to the program's ``serve``."""
    app.command(context_settings=_PASSED_ON)(start)
    app.command()(stop)
    app.command()(status)
    app.command(context_settings=_PASSED_ON)(restart)


def start(
    context: typer.Context,
    port: PortBeside = None,
    folder: RunFolder = None,
    engine: EngineBeside = None,
) -> None:
    """Start a server beside the terminal; takes all options of `ark-asr serve`."""
    with outcome():
        place = _place(folder, port, engine)
        before = beside.running(place)
        pid = _start(place, context.args, engine)
        typer.echo(f"{'already running' if before else 'started'} pid={pid} port={place.port}")
        typer.echo(f"log: {place.log_file}")


def stop(
    port: PortBeside = None,
    folder: RunFolder = None,
    engine: EngineBeside = None,
    grace: Grace = 30,
) -> None:
    """Stop it; requests that are running get their time to finish."""
    with outcome():
        place = _place(folder, port, engine)
        pid = beside.stop(place, grace + _SPARE)
        typer.echo(f"stopped pid={pid} port={place.port}" if pid else _not_running(place))


def status(port: PortBeside = None, folder: RunFolder = None, engine: EngineBeside = None) -> None:
    """Say whether it runs; the exit code is 0 if so, else 3."""
    with outcome():
        place = _place(folder, port, engine)
        pid = beside.running(place)
        typer.echo(f"running pid={pid} port={place.port}" if pid else _not_running(place))
        if pid is None:
            raise typer.Exit(_NOT_RUNNING)


def restart(
    context: typer.Context,
    port: PortBeside = None,
    folder: RunFolder = None,
    engine: EngineBeside = None,
    grace: Grace = 30,
) -> None:
    """Stop and start it, with the options of its last start, or those that are given now."""
    with outcome():
        place = _place(folder, port, engine)
        beside.stop(place, grace + _SPARE)
        arguments = context.args or beside.last_arguments(place)
        typer.echo(f"started pid={_start(place, arguments, engine)} port={place.port}")
        typer.echo(f"log: {place.log_file}")


def _start(place: Place, arguments: list[str], engine: str | None) -> int:
    if engine is not None and "--engine" not in arguments:
        arguments = ["--engine", engine, *arguments]
    if engine != _VLLM:
        return beside.start(place, arguments)
    told = deployed.arguments(arguments, os.environ)
    return beside.start(place, told, deployed.environment(os.environ))


def _place(folder: Path | None, port: int | None, engine: str | None) -> Place:
    variables = os.environ if engine == _VLLM else {}
    deployed.check(variables)
    if port is None:
        port = int(variables.get("PORT") or PORT)
    if port == 0:
        raise OptionError("port 0: a server beside the terminal needs a port to be found by")
    if folder is None and not variables.get("RUN_DIR"):
        from ark_asr.models.home import store_folder

        folder = store_folder() / "run"
    return deployed.place(folder, port, variables)


def _not_running(place: Place) -> str:
    return f"not running port={place.port}"

"""``ark-asr serve``: the server, in the foreground or beside."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.errors import OptionError
from ark_asr.server import beside, deployed
from ark_asr.server.beside import Place

app = typer.Typer(
    help="Serve transcription over HTTP: OpenAI's interface, live captions (needs the extra "
    "'server').",
    invoke_without_command=True,
)

_PORT = 8000
_VLLM = "vllm"

Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Listen here; others than 127.0.0.1 need --keys.")
]
Port = Annotated[int, typer.Option(metavar="N", help="Listen here; 0 takes a free port.")]
Model = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|PATH",
        help="See `ark-asr models list`; repeatable: the first is always loaded, the others when "
        "they are asked for. [default: ark-mini]",
    ),
]
AnyModel = Annotated[
    bool, typer.Option("--any-model", help="Clients can ask for every model that is installed.")
]
ModelMemory = Annotated[
    int,
    typer.Option(metavar="MB", help="Most that loaded models may have, by size of their files."),
]
UnloadAfter = Annotated[
    float,
    typer.Option(
        metavar="S", help="A model that nobody asks for so long leaves the memory; not the first."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|URL",
        help="onnx, torch, torch:cuda, vllm, or the URL of a vLLM server. [default: what fits]",
    ),
]
Threads = Annotated[int | None, typer.Option(metavar="N", help="CPU threads. [default: all cores]")]
Alias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Another name of the first model, such as whisper-1; repeatable."
    ),
]
Speakers = Annotated[
    str | None,
    typer.Option(
        metavar="auto|DIR",
        help="Tell speakers apart where that is asked for (extra 'speakers'), with the models of "
        "`ark-asr models pull`, or segmentation.onnx and embedding.onnx of a folder.",
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option("--keys", metavar="FILE", help="Ask for a key; see `ark-asr serve key`."),
]
OpenToAll = Annotated[
    bool, typer.Option("--open-to-all", help="Serve other machines without asking for a key.")
]
Origin = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="Pages of this origin may use the server; repeatable."),
]
MaxUpload = Annotated[int, typer.Option(metavar="MB", help="Largest upload.")]
MaxDuration = Annotated[float, typer.Option(metavar="S", help="Longest recording.")]
MaxQueue = Annotated[
    int, typer.Option(metavar="N", help="Requests at once; more are told to come back later.")
]
MaxLive = Annotated[int, typer.Option(metavar="N", help="Live sessions at once.")]
Jobs = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep long jobs here, so that a restarted server goes on with them: recordings until "
        "they are done, and results. [default: in memory only]",
    ),
]
KeepResults = Annotated[
    float, typer.Option(metavar="HOURS", help="A long job that is over is forgotten after this.")
]
MaxJobs = Annotated[
    int, typer.Option(metavar="N", help="Long jobs that are kept, those that are over included.")
]
MaxJobsSize = Annotated[
    int, typer.Option(metavar="MB", help="Recordings that wait in long jobs, together.")
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Clips decoded together.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Most tokens of a clip, where a request says nothing. [default: what speech can hold; "
        "256 for /asr]",
    ),
]
Timeout = Annotated[float, typer.Option(metavar="S", help="Longest time for one request.")]
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
    int | None, typer.Option("--port", metavar="N", help=f"Which one. [default: {_PORT}]")
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


@app.callback()
def serve(
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = _PORT,
    model: Model = None,
    engine: Engine = None,
    threads: Threads = None,
    alias: Alias = None,
    any_model: AnyModel = False,
    model_memory: ModelMemory = 4096,
    unload_after: UnloadAfter = 600,
    speakers: Speakers = None,
    keys: KeysFile = None,
    open_to_all: OpenToAll = False,
    origin: Origin = None,
    max_upload: MaxUpload = 256,
    max_duration: MaxDuration = 14_400,
    max_queue: MaxQueue = 16,
    max_live: MaxLive = 4,
    jobs: Jobs = None,
    keep_results: KeepResults = 24,
    max_jobs: MaxJobs = 64,
    max_jobs_size: MaxJobsSize = 1024,
    batch_size: BatchSize = 8,
    max_new_tokens: MaxNewTokens = None,
    timeout: Timeout = 3600,
    grace: Grace = 30,
    pid_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve in the foreground until Ctrl-C; start, stop, status and restart do it beside.

    No recording and no transcript is logged, nor stored unless --jobs says where; no connection is
    opened.
    """
    with outcome():
        if context.invoked_subcommand is not None:
            _refuse_options_before(context)
            return
        with needs_extra("the server", "server"):
            from ark_asr.server.running import serve as run
            from ark_asr.server.settings import Settings

        settings = Settings(
            host=host,
            port=port,
            models=tuple(model or ()),
            any_model=any_model,
            model_memory=model_memory << 20,
            unload_after=unload_after,
            engine=engine,
            threads=threads,
            aliases=tuple(alias or ()),
            speakers=speakers,
            keys=keys,
            open_to_all=open_to_all,
            origins=tuple(origin or ()),
            max_upload=max_upload << 20,
            max_duration=max_duration,
            max_queue=max_queue,
            max_live=max_live,
            jobs=jobs,
            keep_results=keep_results * 3600,
            max_jobs=max_jobs,
            max_job_bytes=max_jobs_size << 20,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            timeout=timeout,
            grace=grace,
        )
        with beside.locked(pid_file) if pid_file else nullcontext(lambda: None) as announce:

            def ready(address: str) -> None:
                say(f"serving at {address}")
                announce()

            run(settings, ready=ready)


@app.command(context_settings=_PASSED_ON)
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


@app.command()
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


@app.command()
def status(port: PortBeside = None, folder: RunFolder = None, engine: EngineBeside = None) -> None:
    """Say whether it runs; the exit code is 0 if so, else 3."""
    with outcome():
        place = _place(folder, port, engine)
        pid = beside.running(place)
        typer.echo(f"running pid={pid} port={place.port}" if pid else _not_running(place))
        if pid is None:
            raise typer.Exit(_NOT_RUNNING)


@app.command(context_settings=_PASSED_ON)
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
        port = int(variables.get("PORT") or _PORT)
    if port == 0:
        raise OptionError("port 0: a server beside the terminal needs a port to be found by")
    if folder is None and not variables.get("RUN_DIR"):
        from ark_asr.models.home import store_folder

        folder = store_folder() / "run"
    return deployed.place(folder, port, variables)


def _not_running(place: Place) -> str:
    return f"not running port={place.port}"


def _refuse_options_before(context: typer.Context) -> None:
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    ]  # fmt: skip
    if given:
        option = "--" + given[0].replace("_", "-")
        raise OptionError(f"{option} stands before {context.invoked_subcommand}; put it behind")


@app.command()
def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    keys: Annotated[Path, typer.Option(metavar="FILE", help="Its hash is added here.")],
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    with outcome():
        with needs_extra("the server", "server"):
            from ark_asr.server.keys import add_key

        typer.echo(add_key(keys, name))

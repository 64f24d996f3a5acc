"""``ark-asr serve``: the server, in the foreground or beside."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.serve_beside import PORT, Grace, add_verbs
from ark_asr.errors import OptionError
from ark_asr.server import beside

app = typer.Typer(
    help="Serve transcription over HTTP: OpenAI's interface, live captions (needs the extra "
    "'server').",
    invoke_without_command=True,
)

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
        help="onnx, torch, torch:cuda, torch-compile:cuda (the first batch of each shape waits for "
        "a compiler), vllm, or the URL of a vLLM server. [default: what fits]",
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
LiveIdle = Annotated[
    float, typer.Option(metavar="S", help="A live session without sound for so long is over.")
]
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


@app.callback()
def serve(
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = PORT,
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
    live_idle: LiveIdle = 300,
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
            live_idle=live_idle,
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


def _refuse_options_before(context: typer.Context) -> None:
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    ]  # fmt: skip
    if given:
        option = "--" + given[0].replace("_", "-")
        raise OptionError(f"{option} stands before {context.invoked_subcommand}; put it behind")


add_verbs(app)


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

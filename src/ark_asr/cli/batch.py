"""``ark-asr batch``: a manifest in, one row per recording out, on this machine or on many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.batch_progress import BatchLine, summary
from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.searching import BeamSize, HotwordBoost, Hotwords, Instruction, search_options
from ark_asr.cli.tracks import Track
from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.batch.job import Plan, Tally
    from ark_asr.batch.records import Record
    from ark_asr.batch.rows import RowFile
    from ark_asr.batch.shards import ShardFolder

# The published script spells its flags with underscores.
SETTINGS = {"token_normalize_func": lambda name: name.replace("_", "-")}
HAS_ERRORS = 1
_GIB = 1 << 30
_MOST_GIB = 1 << 20

Script = Annotated[
    str | None, typer.Option(help="Of the published script: works if the model does it, else it"
                             " is refused with the reason.")
]  # fmt: skip


def batch(
    *,
    input_: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|DIR|-",
            help="JSON lines, .csv, .tsv, .parquet (extra 'files'), or a folder of recordings; "
            "also elsewhere (s3://...), or a pattern of several files.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR/|-",
            help="JSON lines; a folder of files of them if it ends in /.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "--model-path",
            metavar="NAME|PATH",
            help="See `ark-asr models list`. [default: ark-mini]",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the rows that are in the output.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output if there is one.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first recording that fails.")
    ] = False,
    segments: Annotated[
        bool, typer.Option("--segments", help="Write segments with their times into the rows.")
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Segments with times and confidence of their words.")
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Most clips decoded together.")] = 40,
    batch_seconds: Annotated[
        float, typer.Option(metavar="S", help="Most seconds of sound decoded together.")
    ] = 120.0,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes, each with a model. [default: 1; on a cluster all it has cores for]",
        ),
    ] = None,
    worker_memory: Annotated[
        float | None,
        typer.Option(metavar="GIB", help="Most memory of each process. [default: no limit]"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPU threads per process. [default: all cores, shared]"),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL",
            help="onnx, torch, torch:cuda, torch-compile:cuda (the first batch of each shape waits "
            "for a compiler), vllm (extras 'torch', 'vllm') or the URL of a vLLM server [default: "
            "what fits the model]; ray, ray:onnx or ray:torch (extra 'batch') for many machines.",
        ),
    ] = None,
    shard_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Rows of each file, if the output has several. [default: 256]"
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most tokens per clip. [default: grows with the clip]"),
    ] = None,
    max_audio_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Cut recordings off after this. [default: segment long ones]"
        ),
    ] = None,
    audio_gain: Annotated[float, typer.Option(metavar="X", help="Multiply all samples.")] = 1.0,
    track: Track = None,
    vad: Annotated[
        bool | None,
        typer.Option(
            "--vad/--no-vad",
            help="Look for speech first, or take whole recordings. [default: only in those longer "
            "than a clip]",
        ),
    ] = None,
    beam_size: BeamSize = None,
    hotwords: Hotwords = None,
    hotword_boost: HotwordBoost = None,
    instruction: Instruction = None,
    audio_root: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder of relative paths. [default: the current one, else the manifest's]",
        ),
    ] = None,
    audio_field: Annotated[str, typer.Option(metavar="KEY")] = "audio",
    text_field: Annotated[str, typer.Option(metavar="KEY")] = "text",
    begin_field: Annotated[str, typer.Option(metavar="KEY")] = "begin_time",
    end_field: Annotated[str, typer.Option(metavar="KEY")] = "end_time",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    processor_path: Script = None,
    do_sample: Annotated[
        bool, typer.Option("--do-sample", help="Refused: decoding is greedy.")
    ] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Refused unless 0: decoding is greedy.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Refused unless 1: there is none.")
    ] = None,
    target_sr: Annotated[
        int | None, typer.Option(help="Refused unless it is the model's own rate.")
    ] = None,
    asr_block_token_id_from: Annotated[
        int | None, typer.Option(help="Refused unless the model's tokenizer says the same.")
    ] = None,
    padding_side: Annotated[
        str | None, typer.Option(help="Refused: results do not depend on padding.")
    ] = None,
    attn_impl: Annotated[str | None, typer.Option(help="Refused unless auto.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Refused unless auto or what the model runs in.")
    ] = None,
) -> None:
    """Write down many recordings, one JSON line each.

    Takes the manifest, the flags (with - or _) and writes the rows of the published batch script.
    The input is checked first; a bad line ends the run with exit code 2 before a model is loaded. A
    recording that cannot be used becomes a row with `error`, and the exit code is 1. Rows that are
    written stay, whatever happens; --resume goes on after them.
    """
    with outcome():
        from ark_asr.batch.job import Plan
        from ark_asr.batch.manifests import read_manifest, refuse_as_output
        from ark_asr.batch.predict import Settings
        from ark_asr.batch.records import Fields
        from ark_asr.batch.script_flags import ScriptFlags
        from ark_asr.batch.shards import is_sharded
        from ark_asr.models.store import resolve
        from ark_asr.pipeline.options import check_options
        from ark_asr.types import TranscribeOptions

        if resume and overwrite:
            raise OptionError("--resume and --overwrite exclude each other")
        options = search_options(
            TranscribeOptions(
                batch_size=batch_size,
                max_new_tokens=max_new_tokens,
                vad=vad,
                gain=audio_gain,
                track=track,
                words=words,
            ),
            beam_size=beam_size,
            hotwords=hotwords,
            hotword_boost=hotword_boost,
            instruction=instruction,
        )
        check_options(options)
        flags = ScriptFlags(
            processor_path, do_sample, temperature, repetition_penalty, target_sr,
            asr_block_token_id_from, padding_side, attn_impl, dtype,
        )  # fmt: skip
        flags.check(model)
        cluster, engine = _where(engine)
        if not cluster:  # whose machines may have models of their own
            resolve(model)
        plan = Plan(
            Settings(model, engine, threads, options, batch_seconds, max_audio_seconds),
            workers=1 if workers is None else workers,
            memory=None if worker_memory is None else _bytes(worker_memory),
            fail_fast=fail_fast,
            segments=segments or words,
        )
        refuse_as_output(output, input_)
        fields = Fields(audio_field, text_field, begin_field, end_field)
        records = read_manifest(input_, fields, audio_root=audio_root)
        _name_missing(records, fail_fast=fail_fast)
        line = BatchLine(show=not quiet)
        try:
            with _open_rows(
                output, records, shard_rows,
                sharded=cluster or is_sharded(output), resume=resume, overwrite=overwrite,
            ) as rows:  # fmt: skip
                tally = _run(records, rows, plan, line, cluster=cluster, workers=workers)
        finally:
            line.close()
        if not quiet:
            say(summary(tally, output))
        if tally.failed or tally.stopped is not None:
            raise typer.Exit(HAS_ERRORS)


def _bytes(gib: float) -> int:
    if not 0 < gib < _MOST_GIB:
        raise OptionError(f"--worker-memory {gib:g}: it must be a positive number of GiB")
    return max(int(gib * _GIB), 1)


def _where(engine: str | None) -> tuple[bool, str | None]:
    """Whether it is on a cluster, and what runs the model there."""
    place, _, inner = (engine or "").partition(":")
    return (True, inner or None) if place == "ray" else (False, engine)


@contextmanager
def _open_rows(
    output: str,
    records: list[Record],
    shard_rows: int | None,
    *,
    sharded: bool,
    resume: bool,
    overwrite: bool,
) -> Iterator[RowFile | ShardFolder]:
    from ark_asr.batch.rows import RowFile
    from ark_asr.batch.shards import SHARD_ROWS, ShardFolder

    if sharded:
        size = SHARD_ROWS if shard_rows is None else shard_rows
        with ShardFolder(output, records, size=size, resume=resume, overwrite=overwrite) as shards:
            yield shards
        return
    if shard_rows is not None:
        raise OptionError("--shard-rows is for outputs of several files: a folder (DIR/), a place "
                          "elsewhere (s3://...), or --engine ray")  # fmt: skip
    with RowFile(output, records, resume=resume, overwrite=overwrite) as rows:
        yield rows


def _run(
    records: list[Record],
    rows: RowFile | ShardFolder,
    plan: Plan,
    line: BatchLine,
    *,
    cluster: bool,
    workers: int | None,
) -> Tally:
    from ark_asr.batch.shards import ShardFolder

    if cluster and isinstance(rows, ShardFolder):
        from ark_asr.batch.cluster import run_on_cluster

        return run_on_cluster(rows, plan, workers=workers, report=line.update, warn=line.say)
    from ark_asr.batch.job import run_batch

    return run_batch(records, rows, plan, report=line.update, warn=line.say)


def _name_missing(records: list[Record], *, fail_fast: bool) -> None:
    """Say it now, not after hours; each will be a row with an error."""
    from ark_asr.batch.manifests import missing_recordings

    for record in (missing := missing_recordings(records)):
        say(f"line {record.number}: {record.path}: no such file")
    if missing and fail_fast:
        raise typer.Exit(HAS_ERRORS)

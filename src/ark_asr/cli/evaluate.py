"""``ark-asr evaluate``: how well a test set is written down."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.batch_progress import BatchLine
from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.saving import check_name, make_folders, save
from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.batch.job import Plan, Tally
    from ark_asr.batch.records import Record
    from ark_asr.batch.rows import RowFile

BATCH_SIZE = 40


def evaluate(
    *,
    input_: Annotated[
        str,
        typer.Option(
            "--input", "-i", metavar="FILE", help="As for `ark-asr batch`; text is the reference."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Scored rows, worst first; FILE.summary.json is written beside it. "
            "[default: INPUT's name with .scored.jsonl, in the current folder]",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output of `ark-asr batch`. [default: predict now]"),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other predictions, compared in pairs.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also a page to read; one file.")
    ] = None,
    audio: Annotated[
        bool | None,
        typer.Option(
            "--audio/--no-audio",
            help="Put the clips that went worst into the page of --report. [default: --audio]",
        ),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(metavar="NAME", help="basic, english, leaderboard, ark or ark-without-jiwer."),
    ] = "basic",
    language: Annotated[
        str, typer.Option(metavar="TAG", help="Of records that do not name theirs, such as de.")
    ] = "",
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Also for each value, numbers in bins; repeat it."),
    ] = None,
    resample_by: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Intervals over its values. [default: utterances]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "--model-path",
            metavar="NAME|PATH",
            help="See `ark-asr models list`. [default: ark-mini]",
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="onnx or torch (extra 'torch').")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes.")] = 1,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Clips decoded together.")
    ] = BATCH_SIZE,
    words: Annotated[
        bool, typer.Option("--words", help="Also times and confidence of single words.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with predictions of an earlier run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace predictions of an earlier run.")
    ] = False,
    audio_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of relative paths.")
    ] = None,
    audio_field: Annotated[str, typer.Option(metavar="KEY")] = "audio",
    text_field: Annotated[str, typer.Option(metavar="KEY")] = "text",
    begin_field: Annotated[str, typer.Option(metavar="KEY")] = "begin_time",
    end_field: Annotated[str, typer.Option(metavar="KEY")] = "end_time",
    language_field: Annotated[str, typer.Option(metavar="KEY")] = "language",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score transcripts against references (needs the extra 'eval').

    Without --predictions the recordings are first written down, into FILE.predictions.jsonl. A
    recording that cannot be used counts with all its words as missing. The page of --report holds
    what was said, and the voices too unless --no-audio.
    """
    with outcome():
        with needs_extra("evaluating", "eval"):
            from ark_asr.evaluation import job
            from ark_asr.evaluation.machine import describe_model
            from ark_asr.evaluation.report import page
            from ark_asr.evaluation.rows import render, worst_first
            from ark_asr.evaluation.summary import Speed
            from ark_asr.evaluation.table import table
        from ark_asr.batch.job import Plan
        from ark_asr.batch.manifests import read_manifest
        from ark_asr.batch.predict import Settings
        from ark_asr.batch.records import Fields
        from ark_asr.batch.rows import RowFile
        from ark_asr.models.store import resolve
        from ark_asr.types import TranscribeOptions

        making = (model, engine, threads is not None, workers != 1, batch_size != BATCH_SIZE,
                  words, resume, overwrite)  # fmt: skip
        if predictions is not None and any(making):
            raise OptionError("--predictions are there already; leave out how to make them")
        if resume and overwrite:
            raise OptionError("--resume and --overwrite exclude each other")
        output = output or _named_for(input_)
        fields = Fields(audio_field, text_field, begin_field, end_field)
        records = read_manifest(input_, fields, audio_root=audio_root)
        if not any(record.text.strip() for record in records):
            raise OptionError(f"{input_}: no record has a reference ({text_field!r})")
        targets = _targets(output, report, audio, predicted=predictions is None)
        _check_targets(targets, [str(path) for path in (input_, predictions, compare) if path])

        scoring = job.Scoring(scheme, language, language_field, tuple(by or ()), resample_by)
        speed = described = None
        if predictions is None:
            job.check(records, scoring, compare)
            described = describe_model(resolve(model))
            make_folders(targets.values())
            predictions = targets["predictions"]
            options = TranscribeOptions(batch_size=batch_size, vad=None, words=words)
            settings = Settings(model, engine, threads, options)
            plan = Plan(settings, workers=workers, segments=True)
            with RowFile(str(predictions), records, resume=resume, overwrite=overwrite) as rows:
                tally = _predict(records, rows, plan, quiet=quiet)
            if tally.elapsed:
                speed = Speed(tally.audio, tally.elapsed, tally.rtfx)

        scored, summary = job.evaluate(
            input_, records, predictions, scoring, other=compare, speed=speed, model=described
        )
        files = {output: render(worst_first(scored)), targets["summary"]: summary.to_json()}
        if report is not None:
            files[report] = page(scored, summary, audio=audio is not False)
        for path, content in files.items():
            save(path, content)
        typer.echo(table(summary), nl=False)
        if not quiet:
            say(f"written: {', '.join(map(str, files))}")


def _named_for(source: str) -> Path:
    """Where the rows of a test set go: those of sets/test.jsonl to test.scored.jsonl."""
    if source == "-" or any(mark in source for mark in "*?["):
        raise OptionError(f"--input {source} gives the rows no name; say --output FILE")
    return Path(f"{PurePath(source).stem}.scored.jsonl")


def _targets(
    output: Path, report: Path | None, audio: bool | None, *, predicted: bool
) -> dict[str, Path]:
    """All that is written, by what it is.

    Raises:
        OptionError: The rows cannot be a file, or voices are for a page that nobody asked for.
    """
    check_name(output)
    if audio is not None and report is None:
        raise OptionError("--audio and --no-audio are for the page of --report; leave them out")
    targets = {"rows": output, "summary": output.with_name(f"{output.name}.summary.json")}
    if report is not None:
        targets["page"] = report
    if predicted:
        targets["predictions"] = output.with_name(f"{output.name}.predictions.jsonl")
    return targets


def _check_targets(targets: dict[str, Path], sources: list[str]) -> None:
    from ark_asr.batch.manifests import refuse_as_output

    names: dict[Path, str] = {}
    for name, target in targets.items():
        check_name(target)
        if other := names.get(target):
            raise OptionError(
                f"{target} cannot be both the {other} and the {name}; choose another name"
            )
        names[target] = name
        for source in sources:
            refuse_as_output(str(target), source)


def _predict(records: list[Record], rows: RowFile, plan: Plan, *, quiet: bool) -> Tally:
    from ark_asr.batch.job import run_batch

    line = BatchLine(show=not quiet)
    try:
        return run_batch(records, rows, plan, report=line.update, warn=line.say)
    finally:
        line.close()

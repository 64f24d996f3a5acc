"""``ark-asr compare``: other systems on the same recordings, measured the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.saving import save
from ark_asr.errors import DownloadError, OptionError

if TYPE_CHECKING:
    from ark_asr.batch.records import Record
    from ark_asr.evaluation.compare.contenders import Contender
    from ark_asr.evaluation.compare.results import Outcome
    from ark_asr.evaluation.compare.run import Conditions
    from ark_asr.evaluation.compare.worker import Heard

NOT_ALL_RAN = 1


def compare(
    *,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="A name of --list, [FAMILY:]PLACE, or the address of a server; LABEL= before it "
            "names it, @PRECISION after it chooses. The others are compared with the first.",
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="FILE", help="As for `ark-asr batch`; text is the reference."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="comparison.json, .md and .html, and what each system wrote.",
        ),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(metavar="NAME", help="basic, english, leaderboard, ark or ark-without-jiwer."),
    ] = "basic",
    language: Annotated[
        str,
        typer.Option(
            metavar="TAG",
            help="Of records that do not name theirs. It is told to systems that can be told.",
        ),
    ] = "",
    resample_by: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Intervals over its values. [default: utterances]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of each system. [default: all cores]")
    ] = None,
    clip_seconds: Annotated[
        float, typer.Option(metavar="S", help="Longer recordings are cut, the same for all.")
    ] = 30.0,
    warm_up: Annotated[
        int, typer.Option(metavar="N", help="Recordings heard once more before it counts.")
    ] = 1,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch weights that are not here.")
    ] = False,
    audio_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of relative paths.")
    ] = None,
    audio_field: Annotated[str, typer.Option(metavar="KEY")] = "audio",
    text_field: Annotated[str, typer.Option(metavar="KEY")] = "text",
    begin_field: Annotated[str, typer.Option(metavar="KEY")] = "begin_time",
    end_field: Annotated[str, typer.Option(metavar="KEY")] = "end_time",
    language_field: Annotated[str, typer.Option(metavar="KEY")] = "language",
    list_: Annotated[bool, typer.Option("--list", help="Print the known names and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Compare speech recognisers on your own recordings (needs the extra 'eval').

    Each runs alone in a fresh process: the same clips, the same threads, one clip at a time,
    greedily. No connection is opened unless --download or a server's address asks for it. What is
    not on this computer is listed as "not run" with the command that brings it; the exit code is
    then 1.
    """
    with outcome():
        with needs_extra("comparing", "eval"):
            from ark_asr.evaluation.compare import show
            from ark_asr.evaluation.compare.contenders import known, parse
            from ark_asr.evaluation.compare.results import settle
            from ark_asr.evaluation.compare.run import Conditions, check_languages, check_recordings
            from ark_asr.evaluation.job import Scoring, check
        if list_:
            typer.echo(show.catalogue(known().values()), nl=False)
            return
        from ark_asr.batch.manifests import read_manifest
        from ark_asr.batch.records import Fields
        from ark_asr.evaluation.machine import load_average
        from ark_asr.pipeline.health import this_computer

        if input_ is None or not (models or more):
            raise OptionError("say what to compare (--models, see --list) on which --input")
        contenders = parse([*(models or []), *(more or [])])
        conditions = Conditions(
            this_computer().threads if threads is None else threads,
            clip_seconds, warm_up, language, language_field,
        )  # fmt: skip
        fields = Fields(audio_field, text_field, begin_field, end_field)
        records = read_manifest(input_, fields, audio_root=audio_root)
        if not any(record.text.strip() for record in records):
            raise OptionError(f"{input_}: no record has a reference ({text_field!r})")
        scoring = Scoring(scheme, language, language_field, resample_by=resample_by)
        check(records, scoring)
        check_languages(contenders, records, conditions)
        check_recordings(records)
        _check_network(contenders, download=download)
        _check_before(contenders, input_, output)

        busy = load_average()
        outcomes = []
        for contender in contenders:
            outcomes.append(_run(contender, records, conditions, download=download, quiet=quiet))
            if output is not None and (rows := outcomes[-1].predictions(records)):
                # At once: what took hours is not lost if a later system ends the whole run.
                save(output / f"{contender.slug}.jsonl", "".join(f"{row}\n" for row in rows))
        comparison = settle(
            input_, records, outcomes, scoring=scoring, conditions=conditions, busy=busy
        )
        if output is not None:
            save(output / "comparison.json", comparison.to_json())
            save(output / "comparison.md", show.markdown(comparison))
            save(output / "comparison.html", show.page(comparison))
        typer.echo(show.text(comparison), nl=False)
    if any(row.rates is None for row in comparison.rows):
        raise typer.Exit(NOT_ALL_RAN)


def _check_network(contenders: Sequence[Contender], *, download: bool) -> None:
    """Keep the promise of ``--offline``."""
    from ark_asr.models.transport import is_offline

    if not is_offline():
        return
    servers = [one.label for one in contenders if one.family.name == "server"]
    asked = "--download" if download else servers[0] if servers else None
    if asked:
        raise OptionError(f"{asked} needs a connection, and --offline allows none")


def _run(
    contender: Contender,
    records: list[Record],
    conditions: Conditions,
    *,
    download: bool,
    quiet: bool,
) -> Outcome:
    from ark_asr.evaluation.compare.results import Outcome
    from ark_asr.evaluation.compare.run import run
    from ark_asr.evaluation.compare.weights import Absent, bring, fetch

    def tell(line: str) -> None:
        if not quiet:
            say(line)

    def get(contender: Contender) -> None:
        tell(f"{contender.label}: fetching {contender.place}")
        if contender.family.name == "ark":  # asks for consent, and makes the package that is fast
            _pull(contender.place.partition(":")[0], quiet=quiet)
        else:
            fetch(contender)

    found = bring(contender, get if download else None)
    if isinstance(found, Absent):
        return Outcome(contender, found)
    tell(f"{contender.label}: {found.runs_on}, {found.place}")
    with _bar(len(records), show=not quiet) as report:
        return Outcome(contender, run(contender, found, records, conditions, report))


def _pull(name: str, *, quiet: bool) -> None:
    from ark_asr.cli.pull import pull

    try:
        pull(name, quiet=quiet)
    except typer.Exit:  # it has said why
        raise DownloadError(f"{name}: could not be fetched") from None


@contextmanager
def _bar(total: int, *, show: bool) -> Iterator[Callable[[int, Heard], None]]:
    """A bar for one system; what to call after each recording."""
    from ark_asr.batch.job import Tally
    from ark_asr.cli.batch_progress import BatchLine

    line = BatchLine(show=show)
    audio = seconds = 0.0
    failed = 0

    def report(done: int, heard: Heard) -> None:
        nonlocal audio, seconds, failed
        audio, seconds = audio + heard.audio, seconds + heard.seconds
        failed += heard.error is not None
        line.update(Tally(done, failed, total, done, audio, seconds))
        if heard.error is not None:
            line.say(heard.error)

    try:
        yield report
    finally:
        line.close()


def _check_before(contenders: Sequence[Contender], input_: str, output: Path | None) -> None:
    """Say now and not after hours what would end the whole comparison."""
    from ark_asr.batch.manifests import refuse_as_output
    from ark_asr.batch.places import prepare_folder
    from ark_asr.evaluation.compare.weights import locate

    for contender in contenders:
        locate(contender)  # what is not here is listed; what nobody knows is refused
        if output is not None:
            refuse_as_output(str(output / f"{contender.slug}.jsonl"), input_)
    if output is not None:
        prepare_folder(str(output))

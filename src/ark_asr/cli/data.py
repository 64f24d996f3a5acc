"""``ark-asr data``: collections of speech made into manifests, checked, counted, split, mixed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.progress import amount, rows_of
from ark_asr.errors import OptionError, printable

if TYPE_CHECKING:
    from ark_asr.batch.records import Record

app = typer.Typer(help="Prepare collections of speech.", no_args_is_help=True)
HAS_FINDINGS = 1

Manifests = Annotated[
    list[str],
    typer.Argument(
        metavar="MANIFEST...",
        help="As for `ark-asr batch`. Several are parts; one is divided by `split`.",
    ),
]
Manifest = Annotated[str, typer.Argument(metavar="MANIFEST", help="As for `ark-asr batch`.")]
AudioRoot = Annotated[
    str | None, typer.Option(metavar="DIR", help="Folder of relative paths.")
]  # fmt: skip
Threads = Annotated[int | None, typer.Option(metavar="N", help="[default: all cores]")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@app.command()
def manifest(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The collection.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines.")],
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="kaldi, librispeech, commonvoice, fleurs, huggingface, or folder: each recording "
            "with a .txt beside it. [default: the first of them that fits]",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this part, such as validated; repeat it."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="TAG", help="Of rows that name none, such as de.")
    ] = None,
    text_field: Annotated[
        str | None, typer.Option(metavar="KEY", help="Column of transcripts (huggingface).")
    ] = None,
    speaker_folders: Annotated[
        bool, typer.Option("--speaker-folders", help="Folders are named for speakers (folder).")
    ] = False,
    audio_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where sound is put that lies inside tables (huggingface). "
            "[default: OUTPUT's name with -audio]",
        ),
    ] = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a manifest of a collection on disk.

    Every recording is opened to see how long it is, unless the collection says so. Those that
    cannot be read are named and left out, and the exit code is 1. No command is run that a
    collection names.
    """
    with outcome():
        from ark_asr.corpora.building import build
        from ark_asr.corpora.layouts import find_layout
        from ark_asr.corpora.manifest import write_manifest
        from ark_asr.corpora.wishes import Wishes

        _refuse_to_replace(output, overwrite=overwrite)
        name, found = find_layout(folder, layout)
        _refuse_ignored(
            name,
            {
                "--text-field": (text_field is not None, ("huggingface",)),
                "--audio-folder": (audio_folder is not None, ("huggingface",)),
                "--speaker-folders": (speaker_folders, ("folder",)),
                "--split": (bool(split), ("librispeech", "commonvoice", "fleurs", "huggingface")),
            },
        )
        wishes = Wishes(
            splits=tuple(split or ()),
            text_field=text_field,
            speaker_folders=speaker_folders,
            audio_folder=audio_folder or output.with_name(f"{output.stem}-audio"),
            warn=say,
        )
        records = list(found.read(folder, wishes))
        built = build(records, language=language, threads=threads, progress=_shower(len(records)))
        for _, why in built.unreadable:
            say(f"left out: {why}")
        if not built.records:
            raise OptionError(f"{folder}: no recording of this {name} collection can be read")
        count = write_manifest(output, built.records)
        left = f", {len(built.unreadable)} left out" if built.unreadable else ""
        say(f"{output}: {rows_of(count)} of {name}{left}")
        if built.unreadable:
            raise typer.Exit(HAS_FINDINGS)


@app.command()
def check(
    *,
    manifests: Manifests,
    min_seconds: Annotated[float, typer.Option(metavar="S", help="Shorter is a finding.")] = 0.1,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Longer is a finding. [default: no limit]")
    ] = None,
    max_characters: Annotated[
        float, typer.Option(metavar="X", help="More characters per second are a finding.")
    ] = 40.0,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Say nothing of this kind; repeat it."),
    ] = None,
    audio_root: AudioRoot = None,
    threads: Threads = None,
) -> None:
    """Find what is wrong with a collection; exit code 1 if anything is.

    Decodes every recording to its end. Kinds of findings: unreadable, damaged, duration, short,
    long, silent, empty-text, text-encoding, too-much-text, duplicate, shared-speaker.
    """
    with outcome():
        from ark_asr.corpora.checking import KINDS, Checked, Limits
        from ark_asr.corpora.checking import check as find
        from ark_asr.corpora.parts import read_parts

        unknown = set(allow or ()) - set(KINDS)
        if unknown:
            raise OptionError(f"there is no kind {min(unknown)!r}; there are {', '.join(KINDS)}")
        parts = read_parts(manifests, audio_root=audio_root)
        checked, kinds = Checked(), Counter[str]()
        shower = _shower(sum(len(part.records) for part in parts))
        limits = Limits(min_seconds, max_seconds, max_characters)
        for finding in find(parts, limits, checked, threads=threads, progress=shower):
            if finding.kind not in (allow or ()):
                kinds[finding.kind] += 1
                typer.echo(printable(str(finding)))
        say(f"{rows_of(checked.rows)}, {amount(checked.seconds)} of sound")
        for encoding, rows in checked.encodings.most_common():
            say(f"{rows:>8} x {encoding}")
        for kind, count in kinds.most_common():
            say(f"{count:>8} x {kind}: {KINDS[kind]}")
        if kinds:
            raise typer.Exit(HAS_FINDINGS)


@app.command()
def stats(
    *,
    manifests: Manifests,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON, with the alphabet and its counts.")
    ] = False,
    audio_root: AudioRoot = None,
    threads: Threads = None,
) -> None:
    """Hours, speakers, lengths, words and characters of each part."""
    with outcome():
        from ark_asr.corpora.parts import read_parts
        from ark_asr.corpora.stats import count, table, to_json

        found = [
            count(part, threads=threads) for part in read_parts(manifests, audio_root=audio_root)
        ]
        typer.echo(to_json(found) if as_json else table(found), nl=False)


@app.command()
def split(
    *,
    source: Manifest,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="One manifest for each part.")
    ],
    parts: Annotated[
        str, typer.Option(metavar="SHARES", help="Parts and their shares of the sound.")
    ] = "train=0.8,dev=0.1,test=0.1",
    seed: Annotated[int, typer.Option(metavar="N", help="Another one divides otherwise.")] = 0,
    speaker_field: Annotated[str, typer.Option(metavar="KEY")] = "speaker",
    unknown: Annotated[
        str | None,
        typer.Option(metavar="PART", help="Where rows without a speaker go. [default: refused]"),
    ] = None,
    audio_root: AudioRoot = None,
    overwrite: Overwrite = False,
) -> None:
    """Divide a manifest so that no speaker is in two parts; the same way every time."""
    with outcome():
        from ark_asr.batch.manifests import read_manifest, refuse_as_output
        from ark_asr.corpora.manifest import seconds_of, write_manifest
        from ark_asr.corpora.splitting import parse_shares, split_by_speaker

        shares = parse_shares(parts)
        targets = {part: output / f"{part}.jsonl" for part in shares}
        for target in targets.values():
            refuse_as_output(str(target), source)
            _refuse_to_replace(target, overwrite=overwrite)
        records = read_manifest(source, audio_root=audio_root)
        divided = split_by_speaker(records, shares, seed=seed, field=speaker_field, unknown=unknown)
        for part, rows in divided.items():
            write_manifest(targets[part], rows)
            seconds = sum(seconds_of(row) or 0.0 for row in rows)
            say(f"{targets[part]}: {rows_of(len(rows))}, {amount(seconds)}")


@app.command()
def mix(
    *,
    source: Manifest,
    noise: Annotated[str, typer.Option(metavar="MANIFEST|DIR", help="Recordings of noise.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="For manifest.jsonl and audio/."),
    ],
    snr: Annotated[
        str, typer.Option(metavar="DB", help="Ratio, or the range to draw from: 5:20.")
    ] = "10",
    seed: Annotated[int, typer.Option(metavar="N", help="Another one mixes otherwise.")] = 0,
    audio_root: AudioRoot = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Put noise behind speech at a signal-to-noise ratio; the same way every time.

    Each row keeps its keys, and `mixed` says what it was made of. Speech that cannot be used is
    named and left out, and the exit code is 1.
    """
    with outcome():
        from ark_asr.batch.manifests import read_manifest, refuse_as_output
        from ark_asr.corpora.manifest import write_manifest
        from ark_asr.corpora.mixing import Ratios, measure_noises, mix_all

        ratios, target, sound = Ratios.parse(snr), output / "manifest.jsonl", output / "audio"
        for manifest in (source, noise):
            refuse_as_output(str(target), manifest)
        _refuse_to_replace(target, overwrite=overwrite)
        records, others = read_manifest(source, audio_root=audio_root), read_manifest(noise)
        if inside := next((one for one in (*records, *others) if _is_in(one.path, sound)), None):
            raise OptionError(f"{inside.path} is read, and written over; choose another --output")
        noises = measure_noises(others, threads)
        shower = _shower(len(records))
        made: list[Record] = []
        pairs = mix_all(records, noises, ratios, sound, seed=seed, threads=threads)
        for number, (_, found) in enumerate(pairs, 1):
            shower(number)
            if isinstance(found, Exception):
                say(f"left out: {found}")
            else:
                made.append(found)
        if not made:
            raise OptionError(f"{source}: no recording could be mixed")
        write_manifest(target, made)
        left = len(records) - len(made)
        say(f"{target}: {rows_of(len(made))}" + (f", {left} left out" if left else ""))
        if left:
            raise typer.Exit(HAS_FINDINGS)


def _refuse_to_replace(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise OptionError(f"{path}: is there already; --overwrite replaces it")


def _is_in(path: str, folder: Path) -> bool:
    """Whether a recording lies there."""
    return Path(path).absolute().parent.resolve() == folder.resolve()


def _refuse_ignored(layout: str, given: dict[str, tuple[bool, tuple[str, ...]]]) -> None:
    """Refuse options that this layout would ignore."""
    for option, (is_given, layouts) in given.items():
        if is_given and layout not in layouts:
            raise OptionError(f"{option} is for {', '.join(layouts)}; this is {layout}")


def _shower(total: int) -> Callable[[int], None]:
    """Shows a count on a terminal, now and then."""
    if not sys.stderr.isatty():
        return lambda _: None

    def show(done: int) -> None:
        if done % 100 == 0 or done == total:
            end = "\n" if done == total else ""
            print(f"\r{done} of {total}", end=end, file=sys.stderr, flush=True)

    return show

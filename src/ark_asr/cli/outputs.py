"""Which text goes where, settled before any work begins."""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import say
from ark_asr.cli.saving import save
from ark_asr.cli.subtitles import SubtitleFlags
from ark_asr.errors import OptionError, printable

if TYPE_CHECKING:
    from ark_asr.types import Transcript
    from ark_asr.writers import Writer

STDIN = "-"
# Without importing the writers for --help.
FORMATS = ("txt", "srt", "vtt", "json", "tsv", "jsonl", "csv", "lrc", "md", "docx")
# What still can be told apart when several recordings follow each other on one stream.
_STREAMS = ("txt", "jsonl")
# What a terminal cannot show.
_BINARY = ("docx",)

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)}; repeat it or put commas between. [default: txt]",
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option("--output-dir", "-o", metavar="DIR", help="Write files into this folder."),
]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The chosen formats and the folder for their files; ``None`` is standard output.

    Attributes:
        writers: One for each format.
        folder: For the files.
        many: Whether there are several recordings.
    """

    writers: tuple[Writer, ...]
    folder: Path | None
    many: bool = False

    @property
    def formats(self) -> tuple[str, ...]:
        """The names of the formats."""
        return tuple(writer.suffix for writer in self.writers)

    @property
    def plain(self) -> bool:
        """Whether it is plain text on standard output, which can be printed line by line."""
        return self.folder is None and self.formats == ("txt",)

    def path(self, source: str, suffix: str) -> Path:
        """The file for one recording in one format.

        Raises:
            OptionError: There is no folder.
        """
        return self._folder() / f"{_stem(source)}.{suffix}"

    def journal(self, source: str) -> Path:
        """Where a run that may be interrupted notes what is finished; its folder is made.

        Raises:
            OptionError: There is no folder, or the recording cannot be read twice.
        """
        from ark_asr.writers.files import hidden

        if source == STDIN:
            raise OptionError("standard input (-) cannot be read again; --resume needs files")
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        return hidden(folder / _stem(source), "ark-asr-journal")

    def announce(self, source: str) -> None:
        """Print whose text follows, where several come as plain text."""
        if self.many and self.plain:
            put(f"==> {printable(source)} <==\n")

    def deliver(self, transcript: Transcript, source: str, *, quiet: bool) -> None:
        """Print the transcript, or write its files.

        Raises:
            OptionError: An option asks for something that the transcript does not have, or a file
                or standard output cannot be written.
        """
        for writer in self.writers:
            content = writer.render(transcript)
            if self.folder is None:
                put(content)
                continue
            path = self.path(source, writer.suffix)
            save(path, content)
            if not quiet:
                say(f"{path} is written")

    def _folder(self) -> Path:
        if self.folder is None:
            raise OptionError("there is no output folder")
        return self.folder


def _stem(source: str) -> str:
    # A written transcript of what had no name has none either.
    return "stdin" if source == STDIN else Path(source).stem or "transcript"


def put(content: str | bytes) -> None:
    """Print on standard output, at once and as it is.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OptionError: It cannot be written, as on a full disk.
    """
    try:
        if isinstance(content, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if sys.platform != "win32" or error.errno != errno.EINVAL:
            why = error.strerror or error
            raise OptionError(f"standard output cannot be written ({why})") from None
        # So Windows calls a pipe that nobody reads. What is held back must not be tried again.
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


def plan_outputs(
    sources: Sequence[str],
    formats: Sequence[str],
    folder: Path | None,
    subtitles: SubtitleFlags | None = None,
    *,
    inputs: Sequence[str] = (),
) -> Outputs:
    """Check formats and places of all recordings at once.

    Args:
        sources: Paths, or ``-``; files are named after them.
        formats: Names, each possibly several with commas between.
        folder: For the files; it is made if it does not exist.
        subtitles: How subtitles were asked for.
        inputs: More files that must not be replaced, besides ``sources``.

    Raises:
        OptionError: A format is not known, two recordings would get the same file, a file would
            replace an input or cannot be written, or standard output cannot take what is asked for.
        MissingExtraError: A format needs a package that is not installed.
    """
    names = tuple(dict.fromkeys(name.strip() for part in formats for name in part.split(",")))
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"format {name!r} is not known; take one of {', '.join(FORMATS)}")
    if sources.count(STDIN) > 1:
        raise OptionError("standard input (-) can be read only once")
    if folder is None:
        _check_standard_output(names, many=len(sources) > 1)
    else:
        _check_folder(folder)

    from ark_asr.writers import get_writer

    options = (subtitles or SubtitleFlags()).options(names)
    writers = tuple(get_writer(name, options) for name in names)
    outputs = Outputs(writers, folder, many=len(sources) > 1)
    if folder is not None:
        _check_files(outputs, sources, inputs)
    return outputs


def _check_standard_output(names: Sequence[str], *, many: bool) -> None:
    if len(names) > 1:
        raise OptionError(f"{len(names)} formats need --output-dir")
    if many and names[0] not in _STREAMS:
        raise OptionError(f"several recordings as {names[0]} need --output-dir")
    if names[0] in _BINARY and sys.stdout.isatty():
        raise OptionError(f"a terminal cannot show {names[0]}; use --output-dir, or > FILE")


def _check_folder(folder: Path) -> None:
    """Whether it is a folder that can be written, or can become one: not found out after hours."""
    place = folder
    try:
        while not (place.exists() or place.is_symlink()):
            if place.parent == place:  # a drive of Windows that is not there
                raise OptionError(f"{place} is not there; choose another --output-dir")
            place = place.parent
        if not place.is_dir():
            raise OptionError(f"{place} is not a folder; choose another --output-dir")
        writable = os.access(place, os.W_OK | os.X_OK)
    except OSError as error:
        raise OptionError(f"{folder}: cannot be written ({error.strerror or error})") from None
    if not writable:
        raise OptionError(f"{place} is not yours to write into; choose another --output-dir")


def _check_files(outputs: Outputs, sources: Sequence[str], inputs: Sequence[str]) -> None:
    from ark_asr.writers.files import LONGEST_NAME

    for source in sources:  # those of a written transcript are whatever stands in it
        if "\0" in source:
            raise OptionError(f"{source}: no file can be named so; leave --output-dir out")
        try:
            os.fsencode(source)
        except UnicodeEncodeError as error:
            raise OptionError(
                f"{source}: no file can be named so where names are {error.encoding}; set "
                "PYTHONUTF8=1, or leave --output-dir out"
            ) from None
    # Not Path.resolve(), which raises where links lead in a circle.
    kept = {_same(os.path.realpath(name)) for name in (*sources, *inputs) if name != STDIN}
    taken: dict[str, str] = {}
    for source in sources:
        for name in outputs.formats:
            path = outputs.path(source, name)
            if len(os.fsencode(path.name)) > LONGEST_NAME:
                raise OptionError(f"{path.name}: the name is too long for a file; rename {source}")
            if path.is_dir():
                raise OptionError(f"{path} is a folder; choose another --output-dir")
            if (same := _same(path)) in taken:
                raise OptionError(
                    f"{taken[same]} and {source} would both be written to {path}; "
                    "use different folders"
                )
            if _same(os.path.realpath(path)) in kept:
                raise OptionError(f"{path} is an input and would be replaced; use another folder")
            taken[same] = source


def _same(path: str | Path) -> str:
    """What is equal for names that mean one file, unless a disk was made otherwise."""
    name = os.fspath(path)
    if sys.platform == "darwin":  # neither case nor the way accents are written count
        return unicodedata.normalize("NFC", name).casefold()
    return name.lower() if sys.platform == "win32" else name

"""Which text goes where, settled before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import OptionError

STDIN = "-"
FORMATS = ("txt", "srt", "vtt", "json", "tsv", "jsonl")  # without importing the writers for --help
# What still can be told apart when several recordings follow each other on one stream.
_STREAMS = ("txt", "jsonl")


@dataclass(frozen=True, slots=True)
class Outputs:
    """The chosen formats and the folder for their files; ``None`` is standard output."""

    formats: tuple[str, ...]
    folder: Path | None

    def path(self, source: str, suffix: str) -> Path:
        """The file for one recording in one format.

        Raises:
            OptionError: There is no folder.
        """
        if self.folder is None:
            raise OptionError("there is no output folder")
        stem = "stdin" if source == STDIN else Path(source).stem
        return self.folder / f"{stem}.{suffix}"


def plan_outputs(sources: Sequence[str], formats: Sequence[str], folder: Path | None) -> Outputs:
    """Check formats and places of all recordings at once.

    Args:
        sources: Paths, or ``-``.
        formats: Names, each possibly several with commas between.
        folder: For the files; it is made if it does not exist.

    Raises:
        OptionError: A format is not known, two recordings would get the same file, a file would
            replace a recording, or what is asked for cannot go to standard output.
    """
    names = tuple(dict.fromkeys(name.strip() for part in formats for name in part.split(",")))
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"format {name!r} is not known; take one of {', '.join(FORMATS)}")
    if sources.count(STDIN) > 1:
        raise OptionError("standard input (-) can be read only once")
    outputs = Outputs(names, folder)
    if folder is None:
        if len(names) > 1:
            raise OptionError(f"{len(names)} formats need --output-dir")
        if len(sources) > 1 and names[0] not in _STREAMS:
            raise OptionError(f"several recordings as {names[0]} need --output-dir")
        return outputs
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is not a folder; choose another --output-dir")
    recordings = {Path(source).resolve() for source in sources if source != STDIN}
    taken: dict[Path, str] = {}
    for source in sources:
        for name in names:
            path = outputs.path(source, name)
            if path in taken:
                raise OptionError(
                    f"{taken[path]} and {source} would both be written to {path}; "
                    "transcribe them into different folders"
                )
            if path.resolve() in recordings:
                raise OptionError(f"{path} is a recording and would be replaced by its transcript")
            taken[path] = source
    return outputs

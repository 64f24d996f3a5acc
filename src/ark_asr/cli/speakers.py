"""The options that say who speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ark_asr.cli.outcome import say
from ark_asr.cli.progress import ProgressLine
from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.pipeline import SpeakerTurn
    from ark_asr.types import TranscribeOptions

    # Gives the turns of a recording that is transcribed with these options.
    Finder: TypeAlias = Callable[[str, TranscribeOptions], tuple[SpeakerTurn, ...]]

AUTO = "auto"

SpeakersOption = Annotated[
    str | None,
    typer.Option(
        "--speakers",
        metavar="auto|FILE",
        help="Who says it: auto tells voices apart (extra 'speakers'); or an RTTM file. Implies "
        "--words.",
    ),
]
NumSpeakers = Annotated[
    int | None,
    typer.Option(metavar="N", help="--speakers auto: how many people speak, if you know it."),
]
SpeakerModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--speaker-models",
        metavar="DIR",
        help="--speakers auto: a folder with segmentation.onnx and embedding.onnx. [default: those "
        "of `ark-asr models pull`]",
    ),
]
Channels = Annotated[
    bool, typer.Option("--channels", help="Each channel of a recording is one speaker.")
]


@dataclass(frozen=True, slots=True)
class SpeakerFlags:
    """What was typed.

    Attributes:
        speakers: ``auto``, the path of an RTTM file, or nothing.
        count: Number of speakers.
        models: Folder of the models.
        channels: Whether each channel is a speaker.
    """

    speakers: str | None
    count: int | None
    models: Path | None
    channels: bool

    def check(self, *, resume: bool) -> None:
        """Refuse what does not go together.

        Raises:
            OptionError: Names the options.
        """
        if self.channels and self.speakers is not None:
            raise OptionError("--channels says who speaks; leave out --speakers")
        if self.channels and resume:
            raise OptionError("--resume cannot go on with --channels; leave one of them out")
        for name, value in (("num-speakers", self.count), ("speaker-models", self.models)):
            if value is not None and self.speakers != AUTO:
                raise OptionError(f"--{name} needs --speakers auto")

    def finder(self, files: Sequence[str], threads: int | None, *, quiet: bool) -> Finder | None:
        """What finds the turns of a recording; ``None`` if nobody asked for them.

        Raises:
            OptionError: The RTTM file is not one.
            ModelError: A model is not here, or not what it must be.
            MissingExtraError: The library is not installed.
        """
        if self.speakers is None:
            return None
        if self.speakers == AUTO:
            return self._voices(threads, quiet=quiet)
        from ark_asr.pipeline.rttm import Rttm

        rttm = Rttm(self.speakers)
        return lambda source, _: rttm.turns(source, alone=len(files) == 1)

    def _voices(self, threads: int | None, *, quiet: bool) -> Finder:
        from ark_asr.models.speakers import SpeakerModels
        from ark_asr.pipeline.diarize import Diarizer

        models = SpeakerModels.find(self.models)
        diarizer = Diarizer(models, count=self.count, threads=threads)

        def find(source: str, options: TranscribeOptions) -> tuple[SpeakerTurn, ...]:
            line = ProgressLine(f"{source}: who speaks", show=not quiet)
            try:
                turns = diarizer.turns(
                    source,
                    begin=options.begin,
                    end=options.end,
                    track=options.track,
                    progress=line.update,
                )
            finally:
                line.close()
            found = len({turn.speaker for turn in turns})
            if turns and self.count and found < self.count:
                say(
                    f"{source}: the voices of {found}, not of {self.count}, were told apart; "
                    "without --num-speakers it may be otherwise"
                )
            return turns

        return find

"""The options of the search, the same for every verb that has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.types import TranscribeOptions

BeamSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Hypotheses followed at once, 1 to 8: better and slower. [default: 1; with --nbest or "
        "--hotwords at least 4]",
    ),
]
Nbest = Annotated[
    int, typer.Option(metavar="N", help="json, jsonl: readings of each segment, 1 to 8.")
]
Hotwords = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|WORDS",
        help="Names and terms that are likely: a text file, one on each line, or a list with "
        "commas between.",
    ),
]
HotwordBoost = Annotated[
    float | None,
    typer.Option(metavar="X", help="How much they are preferred. [default: 0.5]"),
]
Instruction = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="For experts: what the model is asked after the sound. [default: what it was trained "
        "with; anything else can break it]",
    ),
]

_HOLD_ALTERNATIVES = {"json", "jsonl"}


def search_options(
    options: TranscribeOptions,
    *,
    beam_size: int | None,
    hotwords: str | None,
    hotword_boost: float | None,
    instruction: str | None,
    nbest: int = 1,
    formats: Sequence[str] = (),
) -> TranscribeOptions:
    """The options with what was typed for the search.

    Raises:
        OptionError: Something typed would have no effect, or there are no hot words where they are
            said to be.
    """
    from dataclasses import replace

    from ark_asr.pipeline import read_hot_words

    if nbest > 1 and not _HOLD_ALTERNATIVES.intersection(formats):
        raise OptionError("--nbest needs --format json or jsonl: no other format can hold readings")
    if hotword_boost is not None and hotwords is None:
        raise OptionError("--hotword-boost needs --hotwords")
    usual = options.hotword_boost
    return replace(
        options,
        beam_size=beam_size,
        nbest=nbest,
        hotwords=() if hotwords is None else read_hot_words(hotwords),
        hotword_boost=usual if hotword_boost is None else hotword_boost,
        instruction=instruction,
    )

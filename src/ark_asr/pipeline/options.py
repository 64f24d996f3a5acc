"""Options that make no sense are refused before any work."""

from __future__ import annotations

import math
from typing import get_args

from ark_asr.audio.tracks import check_track
from ark_asr.decoding.hotwords import HotWord
from ark_asr.errors import OptionError
from ark_asr.types import TranscribeOptions, WordTimes

_WIDEST_BEAM = 8
# Wide enough for hot words and for most of what a beam can gain; see docs/search.md.
_USUAL_BEAM = 4


def check_options(options: TranscribeOptions) -> None:
    """Check all but ``begin`` and ``end``, which `open_audio` checks with the recording's name.

    Raises:
        OptionError: Names the first value that makes no sense.
    """
    for name, value in (
        ("batch_size", options.batch_size),
        ("max_new_tokens", options.max_new_tokens),
    ):
        if value is None and name == "max_new_tokens":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise OptionError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if not isinstance(options.context, int) or isinstance(options.context, bool):
        raise OptionError(f"context is {options.context!r}; it must be a whole number of tokens")
    if options.context < 0:
        raise OptionError(f"context is {options.context}; it must not be negative")
    if options.instruction is not None and not isinstance(options.instruction, str):
        raise OptionError(f"instruction is {options.instruction!r}; it must be text")
    if not isinstance(options.vad, bool | None):
        raise OptionError(f"vad is {options.vad!r}; it must be True, False or None")
    if not isinstance(options.gain, int | float) or not 0 < options.gain < math.inf:
        raise OptionError(f"gain is {options.gain!r}; it must be a positive number")
    check_track(options.track)
    if options.word_times not in get_args(WordTimes):
        raise OptionError(
            f"word_times is {options.word_times!r}; it must be {' or '.join(get_args(WordTimes))}"
        )
    _check_beam(options)


def beam_width(options: TranscribeOptions) -> int:
    """Hypotheses that are followed at once; 1 is greedy search."""
    if options.beam_size is not None:
        return options.beam_size
    needs_beam = options.hotwords or options.nbest > 1
    return max(options.nbest, _USUAL_BEAM) if needs_beam else 1


def _check_beam(options: TranscribeOptions) -> None:
    for name, value in (("beam_size", options.beam_size), ("nbest", options.nbest)):
        if value is None and name == "beam_size":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _WIDEST_BEAM:
            raise OptionError(
                f"{name} is {value!r}; it must be a whole number, 1 to {_WIDEST_BEAM}"
            )
    width = beam_width(options)
    if options.nbest > width:
        raise OptionError(f"nbest is {options.nbest}, more than the beam_size of {width}")
    if isinstance(options.hotwords, str):
        raise OptionError("hotwords is one text; it must be several, in a tuple")
    for word in options.hotwords:
        HotWord.parse(word)
    if options.hotwords and width == 1:
        raise OptionError("hotwords need a beam_size of at least 2, or none for the usual one")
    boost = options.hotword_boost
    if not isinstance(boost, int | float) or not 0 < boost < math.inf:
        raise OptionError(f"hotword_boost is {boost!r}; it must be a positive number")

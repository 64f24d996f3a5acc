"""Options that make no sense are refused before any work."""

from __future__ import annotations

import math

from ark_asr.audio.tracks import check_track
from ark_asr.decoding.hotwords import HotWord
from ark_asr.errors import OptionError
from ark_asr.kinds import of_kind, shown
from ark_asr.types import TranscribeOptions

_WIDEST_BEAM = 8
# Wide enough for hot words and for most of what a beam can gain; see docs/search.md.
_USUAL_BEAM = 4


def check_options(options: TranscribeOptions) -> None:
    """Check all but ``begin`` and ``end``, which `open_audio` checks with the recording's name.

    That each value is of its kind is known: options of other kinds cannot be made.

    Raises:
        OptionError: Names the first value that makes no sense; or these are no options.
    """
    of_kind("options", options, TranscribeOptions)
    for name, value in (
        ("batch_size", options.batch_size),
        ("max_new_tokens", options.max_new_tokens),
    ):
        if value is not None and value < 1:
            raise OptionError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if options.context < 0:
        raise OptionError(f"context is {options.context}; it must not be negative")
    if not 0 < options.gain < math.inf:
        raise OptionError(f"gain is {options.gain!r}; it must be a positive number")
    check_track(options.track)
    for name, texts in (
        ("instruction", (options.instruction or "",)),
        ("hotwords", options.hotwords),
    ):
        for text in texts:
            if not _is_unicode(text):
                raise OptionError(f"{name}: {shown(text)} holds what is no UTF-8 text")
            if "<|" in text:
                raise OptionError(f"{name}: {shown(text)} holds a control token, or its beginning")
    _check_beam(options)


def beam_width(options: TranscribeOptions) -> int:
    """Hypotheses that are followed at once; 1 is greedy search."""
    if options.beam_size is not None:
        return options.beam_size
    needs_beam = options.hotwords or options.nbest > 1
    return max(options.nbest, _USUAL_BEAM) if needs_beam else 1


def _is_unicode(text: str) -> bool:
    """Whether a tokenizer can read it: arguments of a program can hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _check_beam(options: TranscribeOptions) -> None:
    for name, value in (("beam_size", options.beam_size), ("nbest", options.nbest)):
        if value is not None and not 1 <= value <= _WIDEST_BEAM:
            raise OptionError(
                f"{name} is {value!r}; it must be a whole number, 1 to {_WIDEST_BEAM}"
            )
    width = beam_width(options)
    if options.nbest > width:
        raise OptionError(f"nbest is {options.nbest}, more than the beam_size of {width}")
    for word in options.hotwords:
        HotWord.parse(word)
    if options.hotwords and width == 1:
        raise OptionError("hotwords need a beam_size of at least 2, or none for the usual one")
    boost = options.hotword_boost
    if not isinstance(boost, int | float) or not 0 < boost < math.inf:
        raise OptionError(f"hotword_boost is {boost!r}; it must be a positive number")

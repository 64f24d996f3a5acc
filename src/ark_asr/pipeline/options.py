"""Options that make no sense are refused before any work."""

from __future__ import annotations

import math
from typing import get_args

from ark_asr.errors import OptionError
from ark_asr.types import TranscribeOptions, WordTimes


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
    if options.word_times not in get_args(WordTimes):
        raise OptionError(
            f"word_times is {options.word_times!r}; it must be {' or '.join(get_args(WordTimes))}"
        )

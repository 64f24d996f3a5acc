"""Which clips, and which prompts, are worth computing together, and the room that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ark_asr.errors import OptionError

# Rows are computed together as long as padding stays below this part of the work.
_PADDING = 0.1
# More tokens than this at once gain nothing and cost memory.
_PREFILL_TOKENS = 512
# Clips below this many frames (5 s) are encoded together: a longer one keeps all cores busy alone.
_ENCODER_FRAMES = 512


def encoder_groups(frames: Sequence[int]) -> Iterator[list[int]]:
    """Indexes of clips to encode together: short ones of similar length."""
    group: list[int] = []
    for i in sorted(range(len(frames)), key=frames.__getitem__):
        longest = frames[i]
        used = sum(frames[j] for j in group) + longest
        padded = (len(group) + 1) * longest
        if group and (padded > _ENCODER_FRAMES or used < padded * (1 - _PADDING)):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def prefill_groups(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Spans of neighbouring rows to feed together, with little padding."""
    first = 0
    for end in range(1, len(lengths) + 1):
        if end < len(lengths):
            span = lengths[first : end + 1]
            padded = len(span) * max(span)
            if padded <= _PREFILL_TOKENS and sum(span) >= padded * (1 - _PADDING):
                continue
        yield first, end
        first = end


def room_for(lengths: Sequence[int], max_new_tokens: int, max_positions: int) -> int:
    """Positions that each row of prompts of these lengths needs.

    Raises:
        OptionError: There is no prompt, an empty one, or the model has fewer.
    """
    if not lengths or not min(lengths):
        raise OptionError("there is no prompt, or an empty one")
    room = max(lengths) + max_new_tokens
    if room > max_positions:
        raise OptionError(
            f"a prompt of {max(lengths)} and {max_new_tokens} new tokens need {room} "
            f"positions; the model has {max_positions}"
        )
    return room

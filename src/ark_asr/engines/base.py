"""The seam between numbers and words.

An engine turns log-mels into audio embeddings and prompts into logits. Search, rules and guards
live above it and are the same for every engine; an engine knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

from ark_asr.errors import OptionError
from ark_asr.kinds import of_kind
from ark_asr.models.calibration import Head
from ark_asr.types import Audio, FloatArray, Hypothesis, IntArray, Prompt

_MOST_THREADS = 1024  # more than any machine has; a slip of the finger would start them all


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that makes no sense; ``None`` leaves the choice to the engine.

    Raises:
        OptionError: It is not 1 to 1,024.
    """
    if threads is None:
        return
    of_kind("threads", threads, int)
    if not 1 <= threads <= _MOST_THREADS:
        raise OptionError(f"threads is {threads}; it must be 1 to {_MOST_THREADS}")


def closed() -> OptionError:
    """What is raised where a recognizer is used that has been closed."""
    return OptionError("this recognizer is closed; load the model again")


class _Closed:
    """What an engine holds in place of what it has given back: any use of it says why."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise closed()

    def __getitem__(self, _key: object) -> NoReturn:
        raise closed()

    def __call__(self, *_values: object, **_named: object) -> NoReturn:
        raise closed()


CLOSED: Any = _Closed()


class DecoderState(Protocol):
    """The decoder after its latest token: one row per prompt, in the order of the prompts.

    A state belongs to the engine that made it and is used by one thread at a time.
    """

    @property
    def logits(self) -> FloatArray:
        """Logits of the next token, float32 ``[rows, columns]``; valid until the next step."""
        ...

    @property
    def positions(self) -> IntArray:
        """Filled positions of each row (prompt and fed tokens), int64 ``[rows]``."""
        ...


class Engine(Protocol):
    """One loaded model.

    Attributes:
        output_ids: Token id of each logits column, int64 ``[columns]``, ascending. Ids that may
            never be chosen can be missing: an engine may leave their rows out of the output
            projection.
        max_positions: Positions (prompt plus generated tokens) that one row can hold.
    """

    output_ids: IntArray
    max_positions: int

    def embed_audio(self, mels: Sequence[FloatArray]) -> list[FloatArray]:
        """Encoder and adapter: log-mels ``[bins, F_i]`` to embeddings ``[N_i, hidden]``.

        The result for a clip does not depend on the other clips of the call.
        """
        ...

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> DecoderState:
        """Feed the prompts (prefill); room is kept for ``max_new_tokens`` more per row."""
        ...

    def step(self, state: DecoderState, token_ids: IntArray) -> DecoderState:
        """Feed one token to each row, int64 ``[rows]``, and return the state after it.

        The state passed in is used up. Rows that have ended are fed any id; their logits mean
        nothing.
        """
        ...

    def close(self) -> None:
        """Give back memory and files. Using the engine afterwards is an error."""
        ...


@runtime_checkable
class Reorders(Engine, Protocol):
    """An engine whose rows can be put in another order, which a beam search needs."""

    def select(self, state: DecoderState, rows: IntArray) -> DecoderState:
        """A state whose row ``i`` is the old row ``rows[i]``, int64 ``[new rows]``.

        A row may be taken several times or not at all, so the number of rows can change. The state
        passed in is used up.
        """
        ...


@runtime_checkable
class Verifies(Engine, Protocol):
    """An engine that can feed a prompt together with the text that may follow it.

    Logits are those of one token at a time, up to rounding; one pass over many tokens takes little
    more time than one token does.
    """

    def verify(
        self, prompt: Prompt, draft: Sequence[int], max_new_tokens: int
    ) -> tuple[DecoderState, FloatArray]:
        """Feed a prompt and a draft of its answer.

        Args:
            prompt: One clip's.
            draft: Ids; at most ``max_new_tokens``.
            max_new_tokens: As for ``start``; the draft is part of them.

        Returns:
            The state of one row after prompt and draft; and logits float32 ``[1 + n, columns]``,
            those after the prompt and after each of the first ``n`` ids of the draft. An engine may
            have read less of it than it was given.
        """
        ...

    def rewind(self, state: DecoderState, position: int) -> DecoderState:
        """The state of one row when it had ``position`` positions filled, to be stepped on.

        Its logits mean nothing before that. The state passed in is used up.
        """
        ...


@runtime_checkable
class Aligner(Engine, Protocol):
    """An engine that can say where in the sound each token of a text was looked for.

    Attributes:
        slot_seconds: Sound that one audio embedding stands for.
    """

    slot_seconds: float

    def attend(
        self,
        prompts: Sequence[Prompt],
        token_ids: Sequence[Sequence[int]],
        heads: Sequence[Head] | None = None,
    ) -> list[FloatArray]:
        """Attention to the audio at the moment each token is chosen, the text being given.

        Args:
            prompts: One per clip.
            token_ids: The text behind each prompt.
            heads: Decoder heads; ``None`` for all of them, layer by layer.

        Returns:
            For each clip float32 ``[heads, tokens, slots]``; each row of slots has the sum 1.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One clip for an engine that searches by itself.

    Attributes:
        audio: The clip, at the model's rate and not longer than it takes.
        max_new_tokens: Upper limit of tokens.
        instruction: The words that follow the audio; ``None`` for those of training.
        said: Ids with which the answer begins; they are not part of the hypothesis. None for an
            engine that cannot go on from them; see `Writer`.
    """

    audio: Audio
    max_new_tokens: int
    instruction: str | None = None
    said: Sequence[int] = ()


@runtime_checkable
class Writer(Protocol):
    """An engine that searches by itself: greedily, with the suppressed ids out of reach.

    One that serves many requests at once, each at its own step, cannot be stepped from outside.

    Attributes:
        output_ids: As for `Engine`.
        max_positions: As for `Engine`.
        goes_on: Whether an answer can begin with ids that are given.
    """

    output_ids: IntArray
    max_positions: int
    goes_on: bool

    def slots(self, samples: int) -> int:
        """Audio embeddings of a clip of so many samples."""
        ...

    def write(
        self, asks: Sequence[Ask], cancelled: Sequence[Callable[[], bool]]
    ) -> list[Hypothesis]:
        """What is said in each clip; a result does not depend on the other clips.

        May be called by several threads at once: their clips are decoded together.

        Args:
            asks: The clips.
            cancelled: One question for each: whether nobody waits for it any more.
        """
        ...

    def close(self) -> None:
        """As for `Engine`; who is still in `write` is given what there is."""
        ...


AnyEngine: TypeAlias = Engine | Writer

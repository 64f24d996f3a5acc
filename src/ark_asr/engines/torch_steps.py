"""The decoding step of `ark_asr.engines.torch_writer`: as it is, or compiled for fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ark_asr.errors import MissingExtraError, OptionError

try:
    import torch
    from torch import Tensor
except ImportError:  # pragma: no cover - the test environment has it
    raise MissingExtraError("The PyTorch engine", "torch") from None

from ark_asr.modeling.decoder import KeyValueCache
from ark_asr.modeling.model import ArkForConditionalGeneration

# The shortest cache of a compiled step: a clip of 10 s and its text. Longer ones double.
_SHORTEST = 256
# Steps of other shapes than so many are an error of ours, not of who uses them.
_MOST_SHAPES = 64


class Steps:
    """One token more for each row of a batch.

    Args:
        model: On its device.
        output_ids: Ids that can be chosen.
    """

    def __init__(self, model: ArkForConditionalGeneration, output_ids: Sequence[int]) -> None:
        self.model = model
        self._like = model.lm_head.weight
        self._columns = torch.tensor(output_ids, device=self._like.device)

    def cache(self, rows: int, length: int) -> KeyValueCache:
        """An empty cache for so many rows and positions, or more of both."""
        return KeyValueCache(self.model.config.decoder, rows, length, self._like)

    def choose(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest ids behind ``[rows, hidden]``, and their log-probabilities, ``[rows]``."""
        logits = self.model.lm_head(hidden)[:, self._columns].float()
        best, column = logits.max(-1)
        return self._columns[column], best - logits.logsumexp(-1)

    def __call__(
        self, token: Tensor, positions: Tensor, cache: KeyValueCache
    ) -> tuple[Tensor, Tensor]:
        """Feed a token to each row; as `choose`.

        Args:
            token: Ids ``[rows]``, for every row of the cache.
            positions: Where they stand, ``[rows]``.
            cache: Of `cache`.
        """
        embeds = self.model.embed_prompt(token[:, None], None)
        return self.choose(self.model.decode(embeds, positions[:, None], cache)[:, -1])


class CompiledSteps(Steps):
    """The step as one piece of compiled code, on CUDA replayed as one graph.

    A GPU works a step of one row off faster than Python can launch its hundreds of kernels. Code
    and graph hold for one shape, so rows are rounded up to powers of four and positions to powers
    of two; the first batch of each shape waits for the compiler. A graph also holds for one place
    in memory, so the caches are kept, and for the thread that recorded it.

    Raises:
        OptionError: Nothing can be compiled here.
    """

    def __init__(self, model: ArkForConditionalGeneration, output_ids: Sequence[int]) -> None:
        super().__init__(model, output_ids)
        device = self._like.device
        try:
            torch.compile(lambda x: x + 1, fullgraph=True)(torch.zeros(2, device=device))
        except RuntimeError as error:  # no compiler, no Triton, a GPU that is too old...
            said = (line for line in str(error).splitlines() if not line.startswith("backend="))
            reason = next(filter(str.strip, said), type(error).__name__)
            raise OptionError(
                f"PyTorch cannot compile for device {device.type!r} here ({reason}); "
                f"`torch:{device}` does without"
            ) from None
        self._caches: dict[tuple[int, int], KeyValueCache] = {}
        self._compiled = torch.compile(  # type: ignore[call-overload]  # it omits the last two
            super().__call__,
            fullgraph=True,
            dynamic=False,
            mode="reduce-overhead" if device.type == "cuda" else "default",
            recompile_limit=_MOST_SHAPES,
            isolate_recompiles=True,
        )

    def cache(self, rows: int, length: int) -> KeyValueCache:
        """See `Steps`; the one that was there before is used up."""
        shape = (_power(rows, 4, 1), _power(length, 2, _SHORTEST))
        if shape not in self._caches:
            made = self._caches[shape] = super().cache(*shape)
            for tensor in (*made.keys, *made.values):
                torch._dynamo.mark_static_address(tensor)
        cache = self._caches[shape]
        for tensor in (*cache.keys, *cache.values):
            tensor.zero_()  # hidden from attention, but not if a number was not finite
        return cache

    def __call__(
        self, token: Tensor, positions: Tensor, cache: KeyValueCache
    ) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        token, logprob = cast("tuple[Tensor, Tensor]", self._compiled(token, positions, cache))
        return token.clone(), logprob.clone()  # the next replay writes over what a graph returned


def _power(value: int, base: int, least: int) -> int:
    """The smallest ``least * base^k`` that is not below ``value``."""
    while least < value:
        least *= base
    return least

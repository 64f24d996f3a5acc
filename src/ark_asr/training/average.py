"""Averages of weights: they often err less than each of the weights they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training.checkpoint import derived


class MovingAverage:
    """Exponential moving average of the parameters that are trained.

    Early in a run the decay is lower, ``(1 + n) / (10 + n)`` after ``n`` updates, so that the
    random start is soon forgotten.

    Args:
        module: Its parameters may be spread over several processes.
        decay: Share of the average that an update leaves; 0: there is no average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._parameters = trained if decay else {}
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self.values.items():
            value.lerp_(self._parameters[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the average inside of this, and its own parameters again after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def load(self, values: Mapping[str, Tensor], updates: int) -> None:
        """Go on from what was saved."""
        self.updates = updates
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self.values.items():
            parameter = self._parameters[name]
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def average_checkpoints(folders: Sequence[Path], target: Path) -> None:
    """Write the mean of the weights of several checkpoints, of one run or its start, as another.

    Raises:
        OptionError: There are fewer than two, they differ in form, or the target exists.
        ModelError: One of them cannot be read.
    """
    if len(folders) < 2:
        raise OptionError("an average needs two checkpoints or more")
    with derived(folders[-1], target) as partial:
        model = ArkForConditionalGeneration.load(folders[0])
        total = dict(model.state_dict())
        for folder in folders[1:]:
            other = ArkForConditionalGeneration.load(folder)
            if other.config != model.config:
                raise OptionError(f"{folder} is a model of another form than {folders[0]}")
            for name, weight in other.state_dict().items():
                total[name] = total[name] + weight
        model.save(partial, weights={name: t / len(folders) for name, t in total.items()})

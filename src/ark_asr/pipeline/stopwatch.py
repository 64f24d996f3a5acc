"""Where the time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from ark_asr.types import Timings

Stage: TypeAlias = Literal["decode", "features", "encoder", "decoder", "words"]


class Stopwatch:
    """Wall clock of one transcription, in total and by stage."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._first_text: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count what happens inside as time of that stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - began

    def text_is_there(self) -> None:
        """Note when the first words were ready."""
        if self._first_text is None:
            self._first_text = self.elapsed

    def timings(self, audio: float) -> Timings:
        """All times so far, for ``audio`` seconds of sound."""
        return Timings(audio, self.elapsed, self._first_text, **self._spent)

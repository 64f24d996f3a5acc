"""What this computer has for a model, and how fast it is with it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from importlib import resources

from ark_asr.engines.cpu import cpu_limit, cpu_name, int8_instructions, usable_cores
from ark_asr.engines.sessions import int8_saturates
from ark_asr.pipeline.recognizer import Recognizer


@dataclass(frozen=True, slots=True)
class Computer:
    """What matters of a computer.

    Attributes:
        cpu: Name of the processor.
        instructions: Those for int8 products; ``None`` if the system does not tell.
        exact: Whether the runtime's fast int8 kernel is exact here; if not, a slower one is used.
        threads: What is computed with unless something else is asked for.
        limit: Processors' worth of time that a container or service may use; ``None`` for all.
    """

    cpu: str
    instructions: list[str] | None
    exact: bool
    threads: int
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How fast a model was.

    Attributes:
        audio: Seconds of the recording that was heard again and again.
        times: Seconds that each time took.
        text: What was heard.
    """

    audio: float
    times: tuple[float, ...]
    text: str

    @property
    def rtf(self) -> float:
        """Real-time factor, the median."""
        return statistics.median(self.times) / self.audio


def this_computer() -> Computer:
    """The computer this runs on."""
    exact = not int8_saturates()
    return Computer(cpu_name(), int8_instructions(), exact, usable_cores(), cpu_limit())


def self_test(recognizer: Recognizer, seconds: float) -> SelfTest:
    """Hear a sentence that comes with the package for ``seconds``, at least twice."""
    sound = resources.files("ark_asr").joinpath("data/hello.flac").read_bytes()
    recognizer.transcribe(sound)  # warms up
    times: list[float] = []
    began = time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        transcript = recognizer.transcribe(sound)
        times.append(time.perf_counter() - start)
    return SelfTest(transcript.duration, tuple(times), transcript.text)

"""How fast a model is here: by threads, by length of clips, by clips decoded together.

Only the time is looked at. What is heard are sentences that do not repeat themselves: a model on
noise says nothing, one on a loop is stopped by its guard, and both are then faster than they are.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from ark_asr.audio import load_audio
from ark_asr.errors import OptionError
from ark_asr.evaluation.columns import aligned
from ark_asr.evaluation.machine import Machine
from ark_asr.models.store import resolve
from ark_asr.pipeline import Recognizer
from ark_asr.types import Audio, TranscribeOptions

SCHEMA = "ark-asr/speed"
VERSION = 1
_USUAL_SECONDS = (5.0, 15.0, 30.0)
_HEAD = ("model", "precision", "threads", "clip s", "batch", "tokens", "RTF best", "median",
         "RTFx", "first text s best", "median")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: every combination.

    Attributes:
        models: Names or folders; a name may say its precision (``ark-asr-0.6b:int8``).
        threads: CPU threads.
        seconds: Lengths of clips; empty for 5, 15 and 30, as far as a model takes them.
        batches: Clips decoded together.
        repeats: How often each is measured, after once to warm up.
        recording: What is heard; ``None`` for a minute that comes with the program.
    """

    models: tuple[str | None, ...] = (None,)
    threads: tuple[int, ...] = (1,)
    seconds: tuple[float, ...] = ()
    batches: tuple[int, ...] = (1,)
    repeats: int = 3
    recording: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Names the option.
        """
        for name, values, least in (
            ("threads", self.threads, 1),
            ("seconds", self.seconds, 1),
            ("batch", self.batches, 1),
            ("repeats", (self.repeats,), 1),
        ):
            if wrong := [value for value in values if not value >= least]:
                raise OptionError(f"{name} is {wrong[0]:g}; it must be at least {least}")


@dataclass(frozen=True, slots=True)
class Measured:
    """One combination.

    Attributes:
        clips: So many were heard in one go, ``batch`` at a time.
        times: Seconds for all of them, each repeat.
        firsts: Seconds until the first batch had its text, each repeat.
        tokens: That were chosen for one clip, the mean.
    """

    model: str
    precision: str
    threads: int
    seconds: float
    batch: int
    clips: int
    times: tuple[float, ...]
    firsts: tuple[float, ...]
    tokens: float

    @property
    def audio(self) -> float:
        """Seconds of sound that were heard in one go."""
        return self.clips * self.seconds

    @property
    def best(self) -> float:
        """Real-time factor, the best."""
        return min(self.times) / self.audio

    @property
    def median(self) -> float:
        """Real-time factor, the median."""
        return statistics.median(self.times) / self.audio


@dataclass(frozen=True, slots=True)
class Speeds:
    """All combinations, and what they were measured with.

    Attributes:
        busy: Load average of the machine before the start, if the system tells.
    """

    recording: str
    repeats: int
    measured: tuple[Measured, ...]
    busy: float | None
    machine: Machine

    def to_json(self) -> str:
        """One JSON object."""
        data = {"schema": SCHEMA, "version": VERSION, **asdict(self)}
        for raw, one in zip(data["measured"], self.measured, strict=True):
            raw |= {"rtf_best": one.best, "rtf_median": one.median}
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"

    def table(self) -> str:
        """Lines for a terminal."""
        busy = "" if self.busy is None else f", load {self.busy:.1f} before the start"
        note = (
            f"{self.machine.cpu}, {self.machine.cores} cores{busy}; best and median of "
            f"{self.repeats}, after once to warm up; {self.recording}"
        )
        return "\n".join([*aligned(_HEAD, [_cells(one) for one in self.measured]), note]) + "\n"


def measure(plan: Plan) -> Iterator[Measured]:
    """Every combination of a plan, as it becomes ready.

    Raises:
        ArkError: A model or the recording cannot be used, or a clip is too long for a model.
    """
    folders = [resolve(model) for model in plan.models]  # all are there, before any is measured
    sound = _sound(plan.recording)
    for folder in folders:
        for threads in plan.threads:
            with Recognizer.load(folder.path, threads=threads) as recognizer:
                for seconds in _lengths(plan, recognizer):
                    clips = _clips(sound, seconds, max(plan.batches))
                    for batch in plan.batches:
                        times, firsts, tokens = _time(recognizer, clips, batch, plan.repeats)
                        yield Measured(
                            folder.name, folder.precision or "fp32", threads, seconds, batch,
                            len(clips), times, firsts, tokens / len(clips),
                        )  # fmt: skip


def _time(
    recognizer: Recognizer, clips: Sequence[Audio], batch: int, repeats: int
) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Seconds for all clips, and until the first text, each repeat; tokens of all clips."""
    # A clip that is tried again takes twice as long, which says nothing about the machine.
    scribe = recognizer.scribe(TranscribeOptions(mend=False))
    times, firsts, tokens = [], [], 0
    for number in range(repeats + 1):
        first, tokens = None, 0
        began = time.perf_counter()
        for start in range(0, len(clips), batch):
            segments = scribe.write(clips[start : start + batch])
            first = first or time.perf_counter() - began
            tokens += sum(segment.tokens for segment in segments)
        if number and first is not None:
            times.append(time.perf_counter() - began)
            firsts.append(first)
    return tuple(times), tuple(firsts), tokens


def _sound(recording: Path | None) -> Audio:
    if recording is not None:
        return load_audio(recording)
    return load_audio(resources.files("ark_asr").joinpath("data/minute.ogg").read_bytes())


def _lengths(plan: Plan, recognizer: Recognizer) -> list[float]:
    most = recognizer.tokenizer.features.clip_seconds
    if not plan.seconds:
        return [seconds for seconds in _USUAL_SECONDS if seconds <= most] or [most]
    if too_long := [seconds for seconds in plan.seconds if seconds > most]:
        raise OptionError(f"clips of {too_long[0]:g} s; {recognizer.name} takes up to {most:g} s")
    return list(plan.seconds)


def _clips(sound: Audio, seconds: float, count: int) -> list[Audio]:
    """So many clips of exactly that length, one after another; the sound is repeated as needed."""
    length = round(seconds * sound.sample_rate)
    times = -(-length * count // len(sound.samples))
    samples = np.tile(sound.samples, times)
    return [
        Audio(samples[first : first + length], sound.sample_rate)
        for first in range(0, length * count, length)
    ]


def _cells(one: Measured) -> tuple[str, ...]:
    return (
        one.model, one.precision, str(one.threads), f"{one.seconds:g}", str(one.batch),
        f"{one.tokens:.0f}", f"{one.best:.3f}", f"{one.median:.3f}", f"{1 / one.median:.1f}",
        f"{min(one.firsts):.3f}", f"{statistics.median(one.firsts):.3f}",
    )  # fmt: skip

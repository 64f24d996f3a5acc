"""One system in a process of its own: load, warm up, hear every recording, tell how long it took.

Recordings are read and cut here, the same for every system, and that time does not count.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ark_asr.audio import open_audio
from ark_asr.audio.clips import cut
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.errors import ArkError
from ark_asr.evaluation.compare.base import RATE, Backend, Family
from ark_asr.types import FloatArray

_UNITS = {"darwin": 1}  # of ``ru_maxrss``: bytes there, KiB elsewhere


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do.

    Attributes:
        languages: Of each record; empty where it is not known.
        warm_up: Recordings that are heard once more before it counts.
    """

    family: Family
    place: str
    precision: str
    threads: int
    records: tuple[Record, ...]
    languages: tuple[str, ...]
    clip_seconds: float
    warm_up: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The system is ready.

    Attributes:
        seconds: For imports and opening, from an interpreter that has neither.
    """

    seconds: float
    precision: str


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording.

    Attributes:
        audio: Seconds of sound.
        seconds: That the system took.
        first: Seconds until the text of the first clip was there; ``None`` if none was.
        error: Why there is no text; ``None`` if all went well.
    """

    text: str
    audio: float
    seconds: float
    first: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """All was heard.

    Attributes:
        memory: The most bytes the process ever had; ``None`` if the system does not tell.
    """

    memory: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The system could not be loaded."""

    why: str


def main(pipe: Connection, job: Job) -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; the table is not theirs
    began = time.perf_counter()
    try:
        backend = job.family.load(job.place, job.threads, job.precision)
    except Exception as error:  # noqa: BLE001 - a library raises what it likes
        pipe.send(Failed(one_line(error)))
        return
    pipe.send(Loaded(time.perf_counter() - began, backend.precision))
    for record, language in list(zip(job.records, job.languages, strict=True))[: job.warm_up]:
        _hear(backend, record, language, job.clip_seconds)
    for record, language in zip(job.records, job.languages, strict=True):
        pipe.send(_hear(backend, record, language, job.clip_seconds))
    pipe.send(Done(peak_memory()))


def _hear(backend: Backend, record: Record, language: str, clip_seconds: float) -> Heard:
    texts: list[str] = []
    audio = seconds = 0.0
    first = None
    try:
        for clip in clips_of(record, clip_seconds):
            audio += len(clip) / RATE
            began = time.perf_counter()
            texts.append(backend.hear(clip, language))
            seconds += time.perf_counter() - began
            if first is None and texts[-1]:
                first = seconds
    except Exception as error:  # noqa: BLE001 - a library raises what it likes
        return Heard("", audio, seconds, None, one_line(error))
    return Heard(" ".join(filter(None, texts)), audio, seconds, first)


def clips_of(record: Record, seconds: float) -> Iterator[FloatArray]:
    """A recording in clips of at most so many seconds, cut at the quietest points.

    Raises:
        AudioError: It cannot be read.
    """
    with (
        warnings.catch_warnings(),
        recording(record.path) as source,
        open_audio(
            source,
            sample_rate=RATE,
            begin=record.begin if record.begin > 0 else None,
            end=record.end if record.end >= 0 else None,
        ) as stream,
    ):
        for clip in cut(stream, seconds, vad=False):
            yield clip.samples


def one_line(error: Exception) -> str:
    """What went wrong; our own errors are a line already."""
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, ArkError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}".strip(": ")[:300]


def peak_memory() -> int | None:
    """The most bytes this process ever had, shared libraries and mapped files included."""
    status = Path("/proc/self/status")
    if status.is_file():  # ``ru_maxrss`` would count what the parent had when it forked
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * _UNITS.get(sys.platform, 1024)

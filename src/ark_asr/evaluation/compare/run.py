"""The systems one after another, each alone on the machine, in a fresh process."""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ark_asr.batch.places import is_elsewhere
from ark_asr.batch.records import Record
from ark_asr.engines.base import check_threads
from ark_asr.errors import OptionError
from ark_asr.evaluation.compare.contenders import Contender
from ark_asr.evaluation.compare.weights import Absent, Here
from ark_asr.evaluation.compare.worker import Done, Failed, Heard, Job, Loaded, main
from ark_asr.evaluation.languages import primary

_PATIENCE = 10.0  # seconds for a process to end that has nothing left to do


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for all systems.

    Attributes:
        threads: CPU threads of each; a server has its own.
        clip_seconds: Longer recordings are cut into clips of at most so much.
        warm_up: Recordings that are heard once more before it counts.
        language: Tag of the records that do not name theirs.
        language_field: Field of the manifest that names it.
    """

    threads: int
    clip_seconds: float = 30.0
    warm_up: int = 1
    language: str = ""
    language_field: str = "language"

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Names the option.
        """
        check_threads(self.threads)
        if not 1 <= self.clip_seconds <= 30:
            raise OptionError(f"clips of {self.clip_seconds:g} s; Whisper takes 1 to 30")
        if self.warm_up < 0:
            raise OptionError(f"warm-up is {self.warm_up}; it must not be negative")

    def language_of(self, record: Record) -> str:
        """ISO 639 code of a record; empty if nobody says it."""
        found = dict(record.extra).get(self.language_field)
        tag = found if isinstance(found, str) and found else self.language
        return primary(tag) if tag else ""


@dataclass(frozen=True, slots=True)
class Ran:
    """A system has heard all recordings.

    Attributes:
        load: Seconds for imports and opening; ``None`` if that is not known.
        memory: The most bytes its process ever had; ``None`` if that is not known.
        heard: Per record, in order.
    """

    here: Here
    precision: str
    load: float | None
    memory: int | None
    heard: tuple[Heard, ...]

    @property
    def audio(self) -> float:
        """Seconds of sound of the recordings that were heard."""
        return sum(one.audio for one in self.heard if one.error is None)

    @property
    def seconds(self) -> float:
        """That it took for them."""
        return sum(one.seconds for one in self.heard if one.error is None)

    @property
    def rtf(self) -> float | None:
        """Real-time factor."""
        return self.seconds / self.audio if self.audio else None

    @property
    def first(self) -> float | None:
        """Seconds to the first text of a recording, the median."""
        found = [one.first for one in self.heard if one.first is not None]
        return statistics.median(found) if found else None


@dataclass(frozen=True, slots=True)
class Broke:
    """A system was there but did not get through."""

    why: str


def check_languages(
    contenders: Sequence[Contender], records: Sequence[Record], conditions: Conditions
) -> None:
    """Refuse before any work what a system will need and nobody says.

    Raises:
        OptionError: A system must be told the language, and a record does not have one.
    """
    needing = [one.label for one in contenders if one.family.language == "needs"]
    silent = [one for one in records if not conditions.language_of(one)]
    if needing and silent:
        raise OptionError(
            f"{needing[0]} must be told the language, and line {silent[0].number} of the input "
            "does not say it; give --language"
        )


def check_recordings(records: Sequence[Record]) -> None:
    """Refuse what no system could hear, because none of them may open a connection.

    Raises:
        OptionError: A recording is on another machine.
    """
    if away := next((one for one in records if is_elsewhere(one.path)), None):
        raise OptionError(
            f"line {away.number} of the input: {away.path} is elsewhere; systems are compared on "
            "recordings of this machine, copy them here"
        )


def run(
    contender: Contender,
    here: Here,
    records: Sequence[Record],
    conditions: Conditions,
    report: Callable[[int, Heard], None] = lambda _, __: None,
) -> Ran | Broke:
    """One system over all records.

    Args:
        contender: The system.
        here: Where it is.
        records: All recordings.
        conditions: The same for all.
        report: Called after each recording with their number so far and the latest.
    """
    job = Job(
        contender.family,
        here.place,
        contender.precision,
        conditions.threads,
        tuple(records),
        tuple(conditions.language_of(one) for one in records),
        conditions.clip_seconds,
        conditions.warm_up,
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(theirs, job), daemon=True)
    with _alone(conditions.threads):
        process.start()
    theirs.close()
    loaded, done, heard = Loaded(0.0, ""), None, []
    try:
        while done is None:
            message = ours.recv()
            if isinstance(message, Failed):
                return Broke(message.why)
            if isinstance(message, Loaded):
                loaded = message
            elif isinstance(message, Heard):
                heard.append(message)
                report(len(heard), message)
            elif isinstance(message, Done):
                done = message
    except (EOFError, OSError):
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Broke(f"its process ended ({how}); is there enough memory?")
    finally:
        if done is not None:
            process.join(_PATIENCE)  # what it has open closes best by itself
        process.kill()
        process.join()
        ours.close()
    errors = [one.error for one in heard if one.error is not None]
    if errors and len(errors) == len(heard):  # rates of nothing would look like a result
        return Broke(f"it heard none of the recordings: {errors[0]}")
    if contender.family.name == "server":  # what it costs there is not known here
        return Ran(here, loaded.precision, None, None, tuple(heard))
    return Ran(here, loaded.precision, loaded.seconds, done.memory, tuple(heard))


def status(outcome: Ran | Broke | Absent) -> str:
    """What became of a system, in words."""
    return {Ran: "ran", Broke: "failed", Absent: "not run"}[type(outcome)]


@contextmanager
def _alone(threads: int) -> Iterator[None]:
    """What a process that is started now finds: its threads, and no way to the network's hubs."""
    wanted = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        str(threads),
    ) | dict.fromkeys(
        ("ARK_ASR_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
         "DO_NOT_TRACK"), "1",
    )  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""Teacher data: unlabelled recordings in, a manifest to train on out.

Both passes of the teacher are kept as rows that survive any end (``NAME.first.jsonl``,
``NAME.second.jsonl``), so a run that was interrupted goes on, and other limits cost nothing. From
them are written ``NAME.jsonl`` (what to train on), ``NAME.dropped.jsonl`` (what not, and why) and
``NAME.provenance.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ark_asr import __version__
from ark_asr.batch.job import Plan, Tally, run_batch
from ark_asr.batch.places import is_remote
from ark_asr.batch.predict import Settings
from ark_asr.batch.records import Record, render_row
from ark_asr.batch.rows import RowFile
from ark_asr.errors import ModelNotFoundError, OptionError
from ark_asr.models.store import resolve
from ark_asr.pipeline.health import this_computer
from ark_asr.training.labels import Label, Limits, objection
from ark_asr.training.remote import RemoteTeacher
from ark_asr.training.strangers import Stranger, family_of
from ark_asr.training.validate import plain
from ark_asr.types import TranscribeOptions


@dataclass(frozen=True, slots=True)
class Teacher:
    """Who writes down.

    Attributes:
        model: Name or folder of one of our models, ``None`` for the default; ``FAMILY:FOLDER`` of
            another family, see `strangers`; or ``http://host/v1#model``.
        options: How one of our models does it; others decide themselves.
        language: What another family is told to hear; empty if nothing.
    """

    model: str | None = None
    options: TranscribeOptions = field(default_factory=lambda: TranscribeOptions(vad=None))
    language: str = ""

    def __post_init__(self) -> None:
        """Refuse what would have no effect.

        Raises:
            OptionError: Says what.
        """
        foreign = self.remote or family_of(self.model) is not None
        if foreign and self.options.beam_size is not None:
            raise OptionError(f"{self.model} searches in its own way; leave out the beam")
        if self.language and family_of(self.model) is None:
            raise OptionError(f"{self.model or 'the default'} is not told the language")

    @property
    def remote(self) -> bool:
        """Whether it is a server."""
        return (self.model or "").startswith(("http://", "https://"))

    def identity(self) -> dict[str, Any]:
        """What makes its transcripts what they are."""
        if self.remote:
            return {"address": self.model, "sha256": None}
        if found := family_of(self.model):
            family, place = found
            if not Path(place).is_dir():
                raise ModelNotFoundError(f"{place}: no such folder; a teacher must be here")
            return {
                "model": f"{family.name}:{Path(place).name}", "sha256": hash_folder(Path(place)),
                "options": {"language": self.language},
            }  # fmt: skip
        folder = resolve(self.model)
        options = dataclasses.asdict(self.options)
        del options["batch_size"]
        return {"model": folder.name, "sha256": hash_folder(folder.path), "options": options}


@dataclass(frozen=True, slots=True)
class Job:
    """What to label, and how.

    Attributes:
        records: Recordings, or parts of some.
        output: ``NAME.jsonl``.
        teacher: Of the first pass.
        second: Of the second pass, over the clips of the first; ``None``: there is none.
        limits: What a label must be.
        workers: Processes; see `ark_asr.batch.job.Plan`.
        threads: CPU threads per process.
        plain: Each label also as plain words, ``text_norm``, which training takes.
    """

    records: Sequence[Record]
    output: Path
    teacher: Teacher
    second: Teacher | None = None
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    threads: int | None = None
    plain: bool = False

    def __post_init__(self) -> None:
        """Refuse what would have no effect.

        Raises:
            OptionError: Several processes for a teacher that has one.
        """
        passes = [one.model for one in (self.teacher, self.second) if one is not None]
        if self.workers > 1 and any(map(family_of, passes)):
            raise OptionError("a teacher of another family runs in one process; --workers is 1")

    def beside(self, suffix: str) -> Path:
        """A file beside the output."""
        return self.output.with_suffix(suffix)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What has become of the clips.

    Attributes:
        kept: Clips to train on.
        seconds: Their length.
        dropped: Clips by the first reason that spoke against them.
    """

    kept: int
    seconds: float
    dropped: dict[str, int]


def hash_folder(folder: Path) -> str:
    """SHA-256 over names and contents of the files of a model."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def label(
    job: Job, *, resume: bool = False, overwrite: bool = False,
    report: Callable[[Tally], None] = lambda _: None, warn: Callable[[str], None] = lambda _: None,
) -> Labelled:  # fmt: skip
    """Run both passes, as far as they are not done yet, then choose.

    Raises:
        OptionError: The output has rows already and neither ``resume`` nor ``overwrite`` was asked
            for, or they are another teacher's.
        ModelError: A teacher cannot be used.
    """
    if not overwrite:
        _spare(job)
    passes = {"first": job.teacher.identity()}
    again = job.second
    if again:  # it hears the clips of the first pass as they are
        whole = dataclasses.replace(again.options, vad=False)
        again = dataclasses.replace(again, options=whole)
        passes["second"] = again.identity()
    _check_passes(job.beside(".passes.json"), passes, resume=resume, overwrite=overwrite)

    def hear(teacher: Teacher, records: Sequence[Record], target: Path) -> None:
        with RowFile(str(target), records, resume=resume, overwrite=overwrite) as rows:
            _hear(job, teacher, records, rows, report=report, warn=warn)

    first = job.beside(".first.jsonl")
    hear(job.teacher, job.records, first)
    labels = _labels(job.records, first)
    if again:
        clips = [
            Record(number, one.audio, one.path, one.text, one.begin, one.end)
            for number, one in enumerate(labels, 1)
            if one.text and one.error is None
        ]
        second = job.beside(".second.jsonl")
        hear(again, clips, second)
        texts = {c.number: row for c, row in zip(clips, _rows(second), strict=True)}
        labels = [
            dataclasses.replace(one, second=str(texts[number]["pred_text"]))
            if number in texts else one
            for number, one in enumerate(labels, 1)
        ]  # fmt: skip
    return _write(job, labels, passes)


def _spare(job: Job) -> None:
    """Refuse to replace a manifest that a person has written or corrected.

    Raises:
        OptionError: It is not what was written here.
    """
    if not job.output.is_file():
        return
    if not job.beside(".passes.json").is_file():
        raise OptionError(f"{job.output}: is there already, and not of this verb; name another")
    provenance = job.beside(".provenance.json")
    said = json.loads(provenance.read_text(encoding="utf-8")) if provenance.is_file() else {}
    written = said.get("sha256")
    if written and written != hashlib.sha256(job.output.read_bytes()).hexdigest():
        raise OptionError(
            f"{job.output}: has been changed since it was written; rename it, so that what was "
            "corrected is not lost, and --resume chooses anew"
        )


def _check_passes(path: Path, passes: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Rows of one teacher must not be gone on with by another."""
    if path.is_file() and not (resume or overwrite):
        raise OptionError(
            f"{path} is there already; --resume goes on and chooses anew, --overwrite begins anew"
        )
    if path.is_file() and resume:
        before = json.loads(path.read_text(encoding="utf-8"))
        options = before.get("second", {}).get("options", {})
        if "vad" in options:  # there was a time when it was written down as null
            options["vad"] = False
        both = before.keys() & passes.keys()
        wrong = [name for name in both if before[name] != json.loads(json.dumps(passes[name]))]
        if wrong:
            raise OptionError(
                f"{path}: the {' and '.join(sorted(wrong))} pass was another teacher's, or had "
                "other options; take those, or --overwrite"
            )
        passes = {**before, **passes}
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, json.dumps(passes, indent=2, ensure_ascii=False) + "\n")


def _hear(
    job: Job, teacher: Teacher, records: Sequence[Record], rows: RowFile, *,
    report: Callable[[Tally], None], warn: Callable[[str], None],
) -> None:  # fmt: skip
    """One pass: a durable row for each record."""
    if not teacher.remote and family_of(teacher.model) is None:
        settings = Settings(teacher.model, None, job.threads, teacher.options)
        plan = Plan(settings, workers=job.workers, segments=True)
        run_batch(records, rows, plan, report=report, warn=warn)
        return
    todo = records[rows.done :]
    if family := family_of(teacher.model):
        threads = job.threads or this_computer().threads
        stranger = Stranger(*family, teacher.language, threads)
        found = stranger.predict(todo, vad=teacher.options.vad is not False)
    else:
        found = RemoteTeacher(str(teacher.model)).predict(todo)
    for record, prediction in zip(todo, found, strict=True):
        rows.append([render_row(record, prediction, segments=True)])
        if prediction.error:
            warn(f"line {record.number}: {prediction.error}")
        report(Tally(rows.done, rows.failed, len(records), audio=prediction.seconds))


def _rows(path: Path) -> list[dict[str, Any]]:
    # Not splitlines(): rows may hold line ends of Unicode as they are.
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def _labels(records: Sequence[Record], first: Path) -> list[Label]:
    """The clips of the first pass, in the order of the recordings and of time."""
    labels = []
    for record, row in zip(records, _rows(first), strict=True):
        begin = max(record.begin, 0.0)
        whole = Label(record.audio, record.path, begin, max(record.end, begin), extra=record.extra)
        if "error" in row:
            labels.append(dataclasses.replace(whole, error=row["error"]))
        labels += [
            dataclasses.replace(
                whole, begin=segment["start"], end=segment["end"], text=segment["text"],
                confidence=segment["confidence"], flags=tuple(segment["flags"]),
            )
            for segment in row["segments"]
        ]  # fmt: skip
    return labels


def _write(job: Job, labels: Iterable[Label], passes: dict[str, Any]) -> Labelled:
    who = passes["first"]
    name = who.get("address") or f"{who['model']}@{who['sha256'][:12]}"
    kept, dropped = [], []
    reasons: Counter[str] = Counter()
    seconds = 0.0
    for one in labels:
        row = _row(one, job.output.parent, name, spelled=job.plain)
        reason = objection(one, job.limits)
        if reason is None:
            kept.append(row)
            seconds += one.seconds
        else:
            reasons[reason] += 1
            dropped.append({**row, "reason": reason, "second": one.second, "error": one.error})
    made = Labelled(len(kept), seconds, dict(reasons))
    provenance = {
        "program": f"ark-asr {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "passes": passes,
        "limits": dataclasses.asdict(job.limits),
        "recordings": len(job.records),
        "kept": {"clips": made.kept, "hours": round(seconds / 3600, 4)},
        "dropped": made.dropped,
        "sha256": hashlib.sha256(_lines(kept).encode()).hexdigest(),
    }
    _replace(job.beside(".dropped.jsonl"), _lines(dropped))
    _replace(job.output, _lines(kept))
    _replace(job.beside(".provenance.json"), json.dumps(provenance, indent=2) + "\n")
    return made


def _row(one: Label, folder: Path, teacher: str, *, spelled: bool) -> dict[str, Any]:
    """A line of a manifest; the path is relative to it, as training reads it."""
    # What the input may say of its own text is not said of this one.
    extra = {key: value for key, value in one.extra if key != "text_norm"}
    return {
        **extra,
        "audio": one.path if is_remote(one.path) else os.path.relpath(one.path, folder),
        "text": one.text,
        **({"text_norm": plain(one.text)} if spelled else {}),
        "begin_time": one.begin,
        "end_time": one.end,
        "duration": round(one.seconds, 3),
        "confidence": one.confidence,
        "agreement": None if one.agreement is None else round(one.agreement, 4),
        "teacher": teacher,
    }


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(text.encode())
    partial.replace(path)

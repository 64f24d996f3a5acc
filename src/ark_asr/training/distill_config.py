"""What a distillation is made of: a training recipe with two more tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ark_asr.errors import OptionError
from ark_asr.models.home import expand
from ark_asr.training.config import AugmentConfig, TrainConfig
from ark_asr.training.divergence import Divergence, Kind, Rest
from ark_asr.training.teachers.config import TeacherConfig

_RECIPE_FILE = "training_config.json"
_DATA = ("batch_seconds", "batch_clips", "max_seconds", "workers")
_KINDS: tuple[Kind, ...] = ("forward", "reverse", "jensen-shannon")
_MATCHES = ("twins", "first-piece")
_RESTS: tuple[Rest, ...] = ("bucket", "renormalise")


@dataclass(frozen=True, slots=True)
class LessonConfig:
    """Whose texts the student is taught on, and how.

    Attributes:
        on_policy: Share of the clips whose text is the student's own, scored by the teacher.
        teacher_forced: Share of the clips whose text is the manifest's, scored by the teacher.
        static: Share of the clips that are learnt from the manifest alone (cross-entropy).
        divergence: ``forward``, ``reverse`` or ``jensen-shannon``, see `divergence`.
        beta: Weight of the teacher in the mixture of ``jensen-shannon``.
        top_k: Ids of each model that are compared; 0 for the whole vocabulary.
        temperature: Of both softmaxes.
        rest: ``bucket`` or ``renormalise``: what becomes of the other ids.
        arithmetic: ``exact``, or ``published`` for that of the published trainer, see `published`.
        sample: Temperature at which the student's texts are drawn; 0 takes its likeliest tokens.
        max_new_tokens: Most tokens of a student's text; 0 for one per audio embedding and 8.
        empty: If the student writes nothing: ``score`` that one place, or teach on the
            ``reference``.
        match: What an id of the teacher is to the student: the one with the same bytes (``twins``),
            or the first token that the student would write of it (``first-piece``).
        min_shared: Places where ids that both have get less of the teacher's probability than this
            are left out.
    """

    on_policy: float = 1.0
    teacher_forced: float = 0.0
    static: float = 0.0
    divergence: str = "forward"
    beta: float = 0.5
    top_k: int = 32
    temperature: float = 1.0
    rest: str = "bucket"
    arithmetic: str = "exact"
    sample: float = 0.0
    max_new_tokens: int = 0
    empty: str = "score"
    match: str = "twins"
    min_shared: float = 0.5

    @property
    def shares(self) -> tuple[float, float, float]:
        """On policy, teacher-forced, static; the sum is 1."""
        return self.on_policy, self.teacher_forced, self.static

    @property
    def measure(self) -> Divergence:
        """What is measured at each place."""
        kind = next(kind for kind in _KINDS if kind == self.divergence)
        rest = next(rest for rest in _RESTS if rest == self.rest)
        return Divergence(kind, self.top_k, self.temperature, rest, self.beta)

    def check(self, where: str) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Says what.
        """
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise OptionError(
                f"{where}: distill.on_policy, teacher_forced and static are shares, together 1"
            )
        choices = {
            "divergence": _KINDS,
            "rest": _RESTS,
            "arithmetic": ("exact", "published"),
            "empty": ("score", "reference"),
            "match": _MATCHES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(f"{where}: distill.{name} is one of {', '.join(known)}")
        ranges = (
            self.top_k >= 0 and self.max_new_tokens >= 0 and self.sample >= 0
            and self.temperature > 0 and 0 < self.beta < 1 and 0 <= self.min_shared <= 1
        )  # fmt: skip
        if not ranges:
            raise OptionError(
                f"{where}: distill.top_k, max_new_tokens and sample are 0 or more, temperature is "
                "more, beta and min_shared are between 0 and 1"
            )
        if self.arithmetic == "published":
            fixed = {"divergence": "forward", "rest": "bucket", "static": 0.0, "empty": "score"}
            changed = [name for name, value in fixed.items() if getattr(self, name) != value]
            if changed or not self.top_k:
                raise OptionError(
                    f"{where}: the published arithmetic has no choice of "
                    f"{', '.join(changed) or 'the whole vocabulary'}"
                )


@dataclass(frozen=True, slots=True)
class DistillConfig(TrainConfig):
    """One distillation: a training run, a teacher, and how it teaches.

    Attributes:
        teacher: Who is asked.
        distill: About which texts, and how the answer counts.
    """

    teacher: TeacherConfig = dataclasses.field(default_factory=TeacherConfig)
    distill: LessonConfig = dataclasses.field(default_factory=LessonConfig)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], path: Path) -> Self:
        """As of any recipe; what it does not say is taken over from the checkpoint it starts from.

        That is the precision, how sound is changed and how large batches are. Manifests, rates and
        the number of updates belong to a run, not to a model, and are not taken over.
        """
        for name in ("optim", "data", "augment"):
            if not isinstance(table.get(name, {}), Mapping):
                raise OptionError(f"{path}: {name} must be a table")
        optim = table.get("optim", {})
        if any(optim.get(name, 0) for name in ("ctc_weight", "ctc_final")):
            raise OptionError(f"{path}: a distillation has no CTC losses; leave optim.ctc_... out")
        table = {**table, "optim": {**optim, "ctc_weight": 0.0, "ctc_final": 0.0}}
        if isinstance(start := table.get("start"), str):
            table = _inherit(table, (path.parent / expand(start)).resolve())
        return super(DistillConfig, cls).from_table(table, path)

    def _check(self, where: str) -> None:
        TrainConfig._check(self, where)
        self.teacher.check(where)
        self.distill.check(where)
        if self.scale.shard:
            raise OptionError(f"{where}: a student that writes is not sharded; scale.shard is off")
        if self.teacher.kind == "server":
            if self.distill.arithmetic == "published":
                raise OptionError(f"{where}: the published arithmetic needs a teacher's logits")
            if self.distill.temperature != 1 and self.distill.rest == "bucket":
                raise OptionError(
                    f"{where}: a server shows its likeliest ids at temperature 1 only; take "
                    'distill.temperature 1, or distill.rest "renormalise"'
                )


def _inherit(table: Mapping[str, Any], start: Path) -> dict[str, Any]:
    """The table, completed by the recipe that made the checkpoint it starts from."""
    path = start / _RECIPE_FILE
    if not path.is_file():
        return dict(table)
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be read ({error})") from None
    augment = {field.name for field in dataclasses.fields(AugmentConfig)}
    completed = {name: saved[name] for name in ("precision",) if name in saved} | dict(table)
    for name, keys in (("data", _DATA), ("augment", augment)):
        taken = {key: value for key, value in saved.get(name, {}).items() if key in keys}
        completed[name] = taken | dict(table.get(name, {}))
    return completed

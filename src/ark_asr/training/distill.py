"""On-policy distillation: a student learns from what a teacher makes of its own transcripts.

Read it from :func:`main` down. For each batch the student writes down what it hears (`rollout`),
the teacher says at every place of that text what it would have written next (`teachers`), and the
student's distributions are moved towards the teacher's (`divergence`). It is not shown a text that
it would never have written; it is corrected on its own.
"""

from __future__ import annotations

import dataclasses
import time
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ark_asr.errors import OptionError
from ark_asr.training.bridge import Bridge
from ark_asr.training.data import Batch
from ark_asr.training.distill_config import DistillConfig
from ark_asr.training.journal import Journal
from ark_asr.training.lesson import Lesson
from ark_asr.training.optim import set_rates
from ark_asr.training.overrides import Overrides
from ark_asr.training.run import Run, prepare, say
from ark_asr.training.supervised import (
    carry_out,
    farewell,
    is_over,
    mixed,
    move,
    portions,
    say_skipped,
    waits,
)
from ark_asr.training.tally import Tally
from ark_asr.training.teachers import load_teacher
from ark_asr.training.teachers.ark import ark_vocabulary

_NONE = Overrides()


def main(
    config_path: str | Path, *, resume: bool = False, skip_bad: bool = False,
    overrides: Overrides = _NONE,
) -> Path:  # fmt: skip
    """Run a recipe to its last update and return the folder of the best checkpoint on dev.

    Args:
        config_path: TOML file, see :class:`DistillConfig`.
        resume: Go on from the latest checkpoint in the output folder.
        skip_bad: Leave out recordings that cannot be read, and list them, instead of stopping.
        overrides: What goes before the recipe.

    Raises:
        OptionError: The recipe makes no sense, a recording cannot be read, or the output folder
            already has checkpoints and ``resume`` was not asked for.
        ModelError: The teacher cannot be used.
    """
    config = DistillConfig.load(config_path, overrides)
    run = prepare(config, resume=resume, skip_bad=skip_bad, distil=True)
    return carry_out(run, lambda journal: train(run, lesson_of(run, config), journal))


def calibrate(
    config_path: str | Path, count: int, *, skip_bad: bool = False, overrides: Overrides = _NONE
) -> Tally:
    """Go through ``count`` batches as a run would, change nothing, and say what was found.

    Raises:
        OptionError: As :func:`main`, ``count`` is not positive, or the run has no updates left.
        ModelError: The teacher cannot be used.
    """
    if count < 1:
        raise OptionError(f"{count} batches say nothing; take at least 1")
    config = DistillConfig.load(config_path, overrides)
    run = prepare(config, resume=True, skip_bad=skip_bad, distil=True)
    if run.stalled or run.step >= config.optim.steps:
        more = "" if run.stalled else " or more optim.steps"  # which would not wake a stalled one
        raise OptionError(
            f"{config.path(config.output)}: that run has ended at update {run.step}; "
            f"--calibrate looks at what is to come, so name another --output{more}"
        )
    lesson = lesson_of(run, config)
    total = Tally()
    with torch.no_grad():
        batches = (batch for portion in portions(run) for batch in portion)
        for number, batch in enumerate(islice(batches, count), 1):
            total += losses(run, lesson, batch)[1]
            say(f"{number:6d}  " + summary(total))
    for name, value in total.figures().items():
        say(f"{name:>15}  {value:.4f}")
    say_skipped(run)
    run.ranks.leave()
    return total


def lesson_of(run: Run, config: DistillConfig) -> Lesson:
    """Load the teacher, and find out which of its ids the student has.

    Raises:
        OptionError: It hears sound of another rate.
        ModelError: It cannot be used.
    """
    teacher = load_teacher(config.teacher, config.path("."), run.device)
    rate = run.tokenizer.features.sample_rate
    if teacher.sample_rate != rate:
        raise OptionError(f"the teacher hears {teacher.sample_rate} Hz, the student {rate} Hz")
    cut = run.tokenizer.encode if config.distill.match == "first-piece" else None
    bridge = Bridge(ark_vocabulary(run.tokenizer), teacher, run.device, cut)
    return Lesson(run.model, run.tokenizer, teacher, bridge, config.distill, config.seed)


def train(run: Run, lesson: Lesson, journal: Journal | None) -> None:
    """The loop: batches, lesson, update; log, evaluate and save when it is time."""
    config = run.config
    clock, heard, since, norms, total = time.monotonic(), 0.0, run.step, 0.0, Tally()
    features = run.model.config.features
    frame = features.hop_length / features.sample_rate
    for portion in portions(run):
        rate = set_rates(run.optimisers, run.step, config.optim)
        tally, norm = update(run, lesson, portion)
        total, norms = total + tally, norms + norm
        run.step += 1
        heard += sum(float(batch.frames.sum()) for batch in portion) * frame * run.ranks.size
        if run.step % config.log_every == 0:
            seconds = time.monotonic() - clock
            speed, (waiting, starved) = heard / seconds, waits(run, seconds)
            norm = norms / (run.step - since)
            if journal:
                values = {
                    "grad_norm": norm, "rate": rate, "rtfx": speed, "waiting": waiting,
                    "skipped": len(run.skipped), "passed_over": run.guard.total,
                }  # fmt: skip
                journal.write(run.step, total.figures() | values)
                say(f"{run.step:6d}  {summary(total)}  norm {norm:.2f}  {speed:.0f} s/s{starved}")
            clock, heard, since, norms, total = time.monotonic(), 0.0, run.step, 0.0, Tally()
            run.waited = 0.0
        if is_over(run, journal):
            break
    farewell(run)


def update(run: Run, lesson: Lesson, portion: list[Batch]) -> tuple[Tally, float]:
    """One step of the optimisers over all batches of all processes.

    Losses are summed over places, gradients over batches and processes, and only then divided by
    the number of places: how an update is cut into batches does not change it. The published
    arithmetic takes the mean of each batch instead.

    Returns:
        The tally of all processes, and the norm of the gradient.
    """
    total = Tally()
    for batch in portion:
        loss, tally = losses(run, lesson, batch)
        if tally.weight:
            torch.autograd.backward(loss)
        total += tally
    totals = torch.tensor(dataclasses.astuple(total), device=run.device)
    weight = [field.name for field in dataclasses.fields(Tally)].index("weight")
    norm = move(run, totals, over=weight)
    return Tally(*totals.tolist()), float(norm)


def losses(run: Run, lesson: Lesson, batch: Batch) -> tuple[Tensor, Tally]:
    """Loss and tally of one batch, in the precision of the run."""
    with mixed(run):
        return lesson.teach(batch)


def summary(tally: Tally) -> str:
    """The figures that show whether it goes well, in one line."""
    found = tally.figures()
    return (
        f"loss {found['loss']:.3f}  agree {found['agreement']:.3f}  vuss {found['vuss']:.1f}  "
        f"tokens {found['rollout_tokens']:.1f}  ended {found['rollout_ended']:.2f}  "
        f"own wer {found['rollout_wer']:.3f}"
    )

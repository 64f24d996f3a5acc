"""Supervised training: from manifests to a checkpoint that transcribes.

Read it from :func:`main` down. Loss is the cross-entropy of the transcript and its end token;
auxiliary CTC losses teach a new encoder to listen before the decoder has learnt to attend, and are
dropped from the checkpoint.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Subset

from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training import checkpoint
from ark_asr.training.config import TrainConfig
from ark_asr.training.data import IGNORED, Batch
from ark_asr.training.journal import Journal
from ark_asr.training.optim import set_rates
from ark_asr.training.order import deal
from ark_asr.training.overrides import Overrides
from ark_asr.training.run import Run, prepare, published, save, say
from ark_asr.training.validate import score, transcribe_rows

_NONE = Overrides()
_STARVED = 0.1  # share of the time spent waiting for batches that is worth a word


def main(
    config_path: str | Path, *, resume: bool = False, skip_bad: bool = False,
    overrides: Overrides = _NONE,
) -> Path:  # fmt: skip
    """Run a recipe to its last update and return the folder of the best checkpoint on dev.

    Args:
        config_path: TOML file, see :class:`TrainConfig`.
        resume: Go on from the latest checkpoint in the output folder.
        skip_bad: Leave out recordings that cannot be read, and list them, instead of stopping.
        overrides: What goes before the recipe.

    Raises:
        OptionError: The recipe makes no sense, a recording cannot be read, or the output folder
            already has checkpoints and ``resume`` was not asked for.
    """
    run = prepare(TrainConfig.load(config_path, overrides), resume=resume, skip_bad=skip_bad)
    return carry_out(run, partial(train, run))


def carry_out(run: Run, train: Callable[[Journal | None], None]) -> Path:
    """Train with a journal, and return the folder of the best checkpoint on dev."""
    output = run.config.path(run.config.output)
    journal = Journal(output, run.step) if run.ranks.first else None
    try:
        train(journal)
    finally:
        say_skipped(run)
        if journal:
            journal.close()
        run.ranks.leave()
    best = output / "best"
    return best if best.is_dir() else checkpoint.numbered(output)[-1]


def train(run: Run, journal: Journal | None) -> None:
    """The loop: batches, loss, update; log, evaluate and save when it is time."""
    config = run.config
    clock, heard, since = time.monotonic(), 0.0, run.step
    sums = torch.zeros(4)
    features = run.model.config.features
    frame = features.hop_length / features.sample_rate
    auxiliary = config.optim.ctc_weight or config.optim.ctc_final
    for portion in portions(run):
        factor = set_rates(run.optimisers, run.step, config.optim)
        sums += update(run, portion)
        run.step += 1
        heard += sum(float(batch.frames.sum()) for batch in portion) * frame * run.ranks.size
        if run.step % config.log_every == 0 and journal:
            spoken, letters, tokens, norm = (sums / (run.step - since)).tolist()
            seconds = time.monotonic() - clock
            waiting, starved = waits(run, seconds)
            values = {
                "loss": spoken, "ctc_bytes": letters, "ctc_tokens": tokens, "grad_norm": norm,
                "rate": factor, "rtfx": heard / seconds, "waiting": waiting,
                "skipped": len(run.skipped), "passed_over": run.guard.total,
            }  # fmt: skip
            journal.write(run.step, values)
            say(
                f"{run.step:6d}  loss {spoken:.3f}  "
                + (f"ctc {letters:.3f} {tokens:.3f}  " if auxiliary else "")
                + f"norm {norm:.2f}  rate {factor:.3f}  {heard / seconds:.0f} s/s"
                + starved
            )
        if run.step % config.log_every == 0:
            clock, heard, since, run.waited = time.monotonic(), 0.0, run.step, 0.0
            sums.zero_()
        if is_over(run, journal):
            break
    farewell(run)


def waits(run: Run, seconds: float) -> tuple[float, str]:
    """The share of so many seconds that went in waiting for sound, and a word if it is much."""
    share = run.waited / seconds
    return share, f"  waiting {share:.0%}: more data.workers?" if share > _STARVED else ""


def is_over(run: Run, journal: Journal | None) -> bool:
    """Behind an update: evaluate and save when it is time; whether nothing gets better any more."""
    config = run.config
    last = run.step == config.optim.steps
    if run.step % config.eval_every == 0 or last:
        evaluate(run, journal)
        last = last or run.stalled
    if run.step % config.save_every == 0 or last:
        save(run)
    return run.stalled


def farewell(run: Run) -> None:
    """Why it ended early."""
    if run.stalled and run.ranks.first:
        say(f"{run.step:6d}  no better for {run.stale} evaluations: this is the end")


def say_skipped(run: Run) -> None:
    """What was left out, each once."""
    for line, times in Counter(run.skipped).items():
        say(f"skipped: {line}" + (f" ({times} times)" if times > 1 else ""))


def portions(run: Run) -> Iterator[list[Batch]]:
    """For each update that is left, this process's batches that have something to teach.

    Where the model is spread over processes, all must do the same work: there batches without
    anything are kept.
    """
    optim, ranks = run.config.optim, run.ranks
    mine = []
    for step in range(run.step, run.step if run.stalled else optim.steps):
        first = run.given + (step - run.begun) * run.portion
        costs = [run.batches.cost(number) for number in range(first, first + run.portion)]
        mine += [first + i for i in deal(costs, ranks.size)[ranks.rank]]
    workers = run.config.data.workers
    loader = DataLoader(
        Subset(run.batches, mine), batch_size=None, num_workers=workers,
        prefetch_factor=4 if workers else None, multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    portion: list[Batch] = []
    clock = time.monotonic()
    for batch in loader:
        run.waited += time.monotonic() - clock
        if batch.skipped and not run.batches.skip_bad:
            raise OptionError(f"cannot train on {batch.skipped[0]}")
        portion.append(batch)
        if len(portion) == optim.accumulate:
            run.skipped += [line for b in portion for line in b.skipped]
            yield [b for b in portion if run.config.scale.shard or not b.empty]
            portion = []
        clock = time.monotonic()


def update(run: Run, portion: list[Batch]) -> Tensor:
    """One step of the optimisers over all batches of all processes.

    Losses are summed over tokens, gradients over batches and processes, and only then divided by
    the number of tokens: how an update is cut into batches does not change it.

    Returns:
        Decoder loss per token, CTC losses per byte and per token, gradient norm: float32 ``[4]``.
    """
    optim = run.config.optim
    progress = run.step / optim.steps
    ctc_weight = optim.ctc_weight + (optim.ctc_final - optim.ctc_weight) * progress
    totals = torch.zeros(5, device=run.device)
    for batch in portion:
        found = [loss * (not batch.empty) for loss in losses(run, batch)]
        spoken, letters, tokens = found
        torch.autograd.backward(spoken + ctc_weight * (letters + tokens))
        counts = [(batch.labels != IGNORED).sum(), batch.letter_lengths.sum()]
        totals += totals.new_tensor([float(value.detach()) for value in [*found, *counts]])
    norm = move(run, totals, over=3)
    spoken, letters, tokens = totals[:3]
    count, letter_count = totals[3:].clamp(min=1)
    return torch.stack([spoken / count, letters / letter_count, tokens / count, norm]).cpu()


def move(run: Run, totals: Tensor, *, over: int) -> Tensor:
    """Add up gradients and totals of all processes, and let the optimisers step once.

    Args:
        run: Its parameters hold gradients of a loss that is summed, not averaged.
        totals: What else is to be summed, float32 ``[n]``, in place.
        over: Which of the totals the gradients are divided by.

    Returns:
        Norm of the gradient. If the guard objects to it, the weights stay as they were.

    Raises:
        TrainingError: It has objected too often.
    """
    parameters = run.trained
    grads = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        grads.append(parameter.grad)
    sharded = run.config.scale.shard  # then gradients have been averaged over the processes already
    run.ranks.sum_([totals] if sharded else [*grads, totals])
    factor = (run.ranks.size if sharded else 1) / totals[over].clamp(min=1e-9)
    for grad in grads:
        grad.mul_(factor)
    norm = nn.utils.clip_grad_norm_(parameters, run.config.optim.clip)
    norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
    if objection := run.guard.objection(float(norm), float(totals[over])):
        if run.ranks.first:
            say(f"{run.step + 1:6d}  {objection}; the weights stay as they were")
    else:
        for optimiser in run.optimisers:
            optimiser.step()
        run.average.update()
    for optimiser in run.optimisers:
        optimiser.zero_grad(set_to_none=True)
    return norm


def losses(run: Run, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross-entropy of the answers, and summed CTC losses for bytes and tokens."""
    with mixed(run):
        return cast("tuple[Tensor, Tensor, Tensor]", run.learner(batch))


def mixed(run: Run) -> AbstractContextManager[object]:
    """Mixed precision inside, if the recipe asks for it."""
    bf16 = run.config.precision == "bf16"
    return torch.autocast(run.device, torch.bfloat16, enabled=bf16)


def evaluate(run: Run, journal: Journal | None) -> None:
    """Greedy WER of every dev manifest; the best mean so far is kept as ``best``."""
    if not run.config.data.dev:
        return
    run.ranks.wait()
    sharded = run.config.scale.shard
    with run.average.in_place():
        weights = published(run) if sharded else None
        if run.ranks.first and journal:
            model = _whole(run, weights) if weights else run.model
            rate = _score_dev(run, journal, model)
            run.stale += 1
            if rate < run.best:
                run.best, run.stale = rate, 0
                best = run.config.path(run.config.output) / "best"
                checkpoint.begin(best)
                checkpoint.save(best, run.model, run.config, None, weights or published(run))
    run.best, stale = run.ranks.share([run.best, run.stale])
    run.stale = int(stale)


def _whole(run: Run, weights: dict[str, Tensor]) -> ArkForConditionalGeneration:
    """A model of its own, for this process alone, of what is spread over many."""
    with torch.device("meta"):
        model = ArkForConditionalGeneration(run.model.config)
    model.load_state_dict(weights, assign=True)
    return model.to(run.device)


def _score_dev(run: Run, journal: Journal, model: ArkForConditionalGeneration) -> float:
    """Say and log the WER of each dev manifest; their mean."""
    model.eval()
    engine = TorchEngine(model, run.tokenizer.suppressed_ids)
    rates: dict[str, float] = {}
    logged: dict[str, Any] = {}
    for dev in run.dev:
        rows, name = dev.rows, dev.name
        # Frozen weights of LoRA are bfloat16 already; all others are scored in float32.
        with torch.autocast(run.device, torch.bfloat16, enabled=run.packed):
            texts = transcribe_rows(engine, run.tokenizer, rows)
        found = score([row.text for row in rows], texts)
        rates[name] = found.wer
        logged[f"wer/{name}"] = found.wer
        between = ""
        if found.interval:
            low, high = found.interval.low, found.interval.high
            logged |= {f"wer_low/{name}": low, f"wer_high/{name}": high}
            between = f", 95 %: {100 * low:.1f} to {100 * high:.1f}"
        say(
            f"{run.step:6d}  {name}: WER {100 * found.wer:.2f} % "
            f"({found.errors} of {found.words} words, {found.clips} clips{between})"
        )
        for reference, hypothesis in found.pairs[:3]:
            say(f"        {reference}\n     -> {hypothesis}")
    journal.write(run.step, logged)
    journal.draw()
    model.train()
    return sum(rates.values()) / len(rates)

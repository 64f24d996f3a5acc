"""Supervised training: from manifests to a checkpoint that transcribes.

Read it from :func:`main` down. Loss is the cross-entropy of the transcript and its end token;
auxiliary CTC losses teach a new encoder to listen before the decoder has learnt to attend, and are
dropped from the checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import WEIGHTS_FILE
from ark_asr.training import checkpoint
from ark_asr.training.config import TrainConfig
from ark_asr.training.data import IGNORED, Batch, Batches, gather_rows, plan, read_manifest
from ark_asr.training.journal import Journal
from ark_asr.training.listening import Listening
from ark_asr.training.optim import optimisers, set_rates
from ark_asr.training.ranks import Ranks
from ark_asr.training.validate import score, transcribe_rows


@dataclass(slots=True)
class Run:
    """Everything that changes while training, and what it is made from."""

    config: TrainConfig
    device: str
    ranks: Ranks
    tokenizer: Tokenizer
    model: ArkForConditionalGeneration
    listening: nn.Module
    optimisers: list[torch.optim.Optimizer]
    batches: Batches
    step: int = 0
    best: float = math.inf
    skipped: list[str] = field(default_factory=list)


def main(config_path: str | Path, *, resume: bool = False, skip_bad: bool = False) -> Path:
    """Run a recipe to its last update and return the folder of the best checkpoint on dev.

    Args:
        config_path: TOML file, see :class:`TrainConfig`.
        resume: Go on from the latest checkpoint in the output folder.
        skip_bad: Leave out recordings that cannot be read, and list them, instead of stopping.

    Raises:
        OptionError: The recipe makes no sense, a recording cannot be read, or the output folder
            already has checkpoints and ``resume`` was not asked for.
    """
    run = prepare(TrainConfig.load(config_path), resume=resume, skip_bad=skip_bad)
    output = run.config.path(run.config.output)
    journal = Journal(output, run.step) if run.ranks.first else None
    try:
        train(run, journal)
    finally:
        if journal:
            journal.close()
        run.ranks.leave()
    best = output / "best"
    return best if best.is_dir() else checkpoint.numbered(output)[-1]


def say(line: str) -> None:
    """One line for whoever watches, at once."""
    print(line, flush=True)


def prepare(config: TrainConfig, *, resume: bool, skip_bad: bool, distil: bool = False) -> Run:
    """Load or draw the model, plan the batches, restore the state of a run that goes on.

    For distillation batches keep their sound, which a teacher hears, and there are no CTC losses.
    """
    # oneDNN remembers this many kernels; its default is soon full, see data.padded_frames.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    if config.threads:
        torch.set_num_threads(config.threads)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    ranks = Ranks.join(device)
    output = config.path(config.output)
    latest = checkpoint.latest(output)
    if latest and not resume:
        raise OptionError(f"{output} has checkpoints already: add --resume, or name another output")

    start = config.path(config.start)
    tokenizer = Tokenizer.load(start)
    if (start / WEIGHTS_FILE).is_file():
        model = ArkForConditionalGeneration.load(start)
    else:
        model = ArkForConditionalGeneration(ModelConfig.load(start))
        checkpoint.draw_weights(model, config.seed)
    model.to(device).train()
    torch.manual_seed(config.seed)
    listening = nn.Module() if distil else Listening(model.config).to(device)

    sources = [
        dataclasses.replace(source, manifest=str(config.path(source.manifest)))
        for source in config.data.train
    ]
    rows, too_long = gather_rows(sources, config.data.max_seconds)
    needed = config.optim.steps * config.optim.accumulate * ranks.size
    order = plan(rows, config.data, seed=config.seed, batches=needed)
    batches = Batches(
        rows, order, tokenizer, config.augment, seed=config.seed, skip_bad=skip_bad,
        keep_sound=distil,
    )  # fmt: skip
    moving = optimisers(model, listening, config.optim)
    run = Run(config, device, ranks, tokenizer, model, listening, moving, batches)
    if latest:
        restore(run, latest)
    if ranks.first:
        hours = sum(row.seconds for row in rows) / 3600
        size = sum(p.numel() for p in model.parameters()) / 1e6
        say(
            f"{size:.2f} M parameters; {len(rows):,} clips, {hours:.1f} h per epoch "
            f"({too_long:,} longer than {config.data.max_seconds:g} s left out); "
            f"update {run.step} of {config.optim.steps}; {ranks.size} x {device}"
        )
    return run


def train(run: Run, journal: Journal | None) -> None:
    """The loop: batches, loss, update; log, evaluate and save when it is time."""
    config = run.config
    clock, heard, since = time.monotonic(), 0.0, run.step
    sums = torch.zeros(4)
    features = run.model.config.features
    frame = features.hop_length / features.sample_rate
    for portion in portions(run):
        factor = set_rates(run.optimisers, run.step, config.optim)
        sums += update(run, portion)
        run.step += 1
        heard += sum(float(batch.frames.sum()) for batch in portion) * frame * run.ranks.size
        if run.step % config.log_every == 0 and journal:
            spoken, letters, tokens, norm = (sums / (run.step - since)).tolist()
            seconds = time.monotonic() - clock
            values = {
                "loss": spoken, "ctc_bytes": letters, "ctc_tokens": tokens, "grad_norm": norm,
                "rate": factor, "rtfx": heard / seconds, "skipped": len(run.skipped),
            }  # fmt: skip
            journal.write(run.step, values)
            say(
                f"{run.step:6d}  loss {spoken:.3f}  ctc {letters:.3f} {tokens:.3f}  "
                f"norm {norm:.2f}  rate {factor:.3f}  {heard / seconds:.0f} s/s"
            )
        if run.step % config.log_every == 0:
            clock, heard, since = time.monotonic(), 0.0, run.step
            sums.zero_()
        last = run.step == config.optim.steps
        if run.step % config.eval_every == 0 or last:
            evaluate(run, journal)
        if run.step % config.save_every == 0 or last:
            save(run)
    for line in run.skipped:
        say(f"skipped: {line}")


def portions(run: Run) -> Iterator[list[Batch]]:
    """For each update that is left, this process's batches."""
    optim, ranks = run.config.optim, run.ranks
    mine = [
        (step * optim.accumulate + i) * ranks.size + ranks.rank
        for step in range(run.step, optim.steps)
        for i in range(optim.accumulate)
    ]
    workers = run.config.data.workers
    loader = DataLoader(
        Subset(run.batches, mine), batch_size=None, num_workers=workers,
        prefetch_factor=4 if workers else None, multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    portion: list[Batch | None] = []
    for batch in loader:
        portion.append(batch)
        if len(portion) == optim.accumulate:
            present = [b for b in portion if b is not None]
            run.skipped += [line for b in present for line in b.skipped]
            yield present
            portion = []


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
        spoken, letters, tokens = losses(run, batch)
        torch.autograd.backward(spoken + ctc_weight * (letters + tokens))
        counts = [(batch.labels != IGNORED).sum(), batch.letter_lengths.sum()]
        values = [spoken.detach(), letters.detach(), tokens.detach(), *counts]
        totals += totals.new_tensor([float(value) for value in values])
    norm = move(run, totals, over=3)
    spoken, letters, tokens, count, letter_count = totals.clamp(min=1e-9)
    return torch.stack([spoken / count, letters / letter_count, tokens / count, norm]).cpu()


def move(run: Run, totals: Tensor, *, over: int) -> Tensor:
    """Add up gradients and totals of all processes, and let the optimisers step once.

    Args:
        run: Its parameters hold gradients of a loss that is summed, not averaged.
        totals: What else is to be summed, float32 ``[n]``, in place.
        over: Which of the totals the gradients are divided by.

    Returns:
        Norm of the gradient; if it is not finite, the weights stay as they were.
    """
    parameters = [*run.model.parameters(), *run.listening.parameters()]
    grads = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        grads.append(parameter.grad)
    run.ranks.sum_([*grads, totals])
    count = totals[over].clamp(min=1e-9)
    for grad in grads:
        grad.div_(count)
    norm = nn.utils.clip_grad_norm_(parameters, run.config.optim.clip)
    if torch.isfinite(norm):
        for optimiser in run.optimisers:
            optimiser.step()
    elif run.ranks.first:
        say(f"{run.step + 1:6d}  the gradient is not finite; the weights stay as they were")
    for optimiser in run.optimisers:
        optimiser.zero_grad(set_to_none=True)
    return norm


def losses(run: Run, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross-entropy of the answers, and summed CTC losses for bytes and tokens."""
    device = run.device
    bf16 = run.config.precision == "bf16"
    labels = batch.labels.to(device)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        states = run.model.audio_encoder.listen(batch.mels.to(device), batch.frames.to(device))
        audio = run.model.audio_encoder.adapt(states)
        hidden = run.model.model(run.model.embed_prompt(batch.token_ids.to(device), audio))
        # Only where the model must answer, in a number that repeats from batch to batch.
        places = (labels.flatten() != IGNORED).nonzero()[:, 0]
        places = functional.pad(places, (0, -len(places) % 256))
        wanted = labels.flatten()[places]
        logits = run.model.lm_head(hidden.flatten(0, 1)[places])
        letters, tokens = run.listening(states, audio, batch)
    spoken = functional.cross_entropy(logits.float(), wanted, reduction="sum", ignore_index=IGNORED)
    return spoken, letters, tokens


def evaluate(run: Run, journal: Journal | None) -> None:
    """Greedy WER of every dev manifest; the best mean so far is kept as ``best``."""
    run.ranks.wait()
    if run.ranks.first and run.config.data.dev and journal:
        run.model.eval()
        engine = TorchEngine(run.model, run.tokenizer.suppressed_ids)
        rates: dict[str, Any] = {}
        for manifest in run.config.data.dev:
            rows = read_manifest(run.config.path(manifest))
            limit = run.config.data.dev_limit or len(rows)
            rows = rows[:: max(len(rows) // limit, 1)][:limit]
            texts = transcribe_rows(engine, run.tokenizer, rows)
            found = score([row.text for row in rows], texts)
            name = Path(manifest).stem
            rates[f"wer/{name}"] = found.wer
            say(
                f"{run.step:6d}  {name}: WER {100 * found.wer:.2f} % "
                f"({found.errors} of {found.words} words, {found.clips} clips)"
            )
            for reference, hypothesis in found.pairs[:3]:
                say(f"        {reference}\n     -> {hypothesis}")
        journal.write(run.step, rates)
        journal.draw()
        run.model.train()
        mean = sum(rates.values()) / len(rates)
        if mean < run.best:
            run.best = mean
            best = run.config.path(run.config.output) / "best"
            checkpoint.save(best, run.model, run.config, None)
    run.ranks.wait()


def save(run: Run) -> None:
    """A numbered checkpoint to go on from; older ones beyond ``keep`` are removed."""
    if run.ranks.first:
        output = run.config.path(run.config.output)
        state = {
            "step": run.step,
            "best": run.best,
            "model": run.model.state_dict(),
            "listening": run.listening.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in run.optimisers],
            "rng": torch.get_rng_state(),
        }
        checkpoint.save(output / f"step-{run.step:07d}", run.model, run.config, state)
        for old in checkpoint.numbered(output)[: -run.config.keep]:
            checkpoint.remove(old)
    run.ranks.wait()


def restore(run: Run, folder: Path) -> None:
    """Take weights, optimisers and random state of a checkpoint."""
    state = checkpoint.load_state(folder)
    run.step, run.best = int(state["step"]), float(state["best"])
    run.model.load_state_dict(state["model"])
    run.listening.load_state_dict(state["listening"])
    for optimiser, saved in zip(run.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    torch.set_rng_state(state["rng"])

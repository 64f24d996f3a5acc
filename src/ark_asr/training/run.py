"""A training run: what it is made of, how it begins, is saved, and goes on."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training import checkpoint, lora, sharding
from ark_asr.training.average import MovingAverage
from ark_asr.training.config import TrainConfig
from ark_asr.training.continuing import frozen_weights, refuse_changes, refuse_strangers
from ark_asr.training.data import Batches
from ark_asr.training.dev import DevSet, dev_sets
from ark_asr.training.guard import Guard
from ark_asr.training.learner import Learner
from ark_asr.training.listening import Listening
from ark_asr.training.optim import optimisers
from ark_asr.training.order import fingerprint_of, gather_rows, plan
from ark_asr.training.ranks import Ranks

_OF_THE_RECIPE = ("peak", "weight_decay")  # keys of a group of parameters


@dataclass(slots=True)
class Run:
    """Everything that changes while training, and what it is made from.

    Attributes:
        dev: What is scored.
        given: Batches of the plan that were used up by all processes before ``begun``.
        heard: Fingerprint of those batches; empty if it is not known.
        begun: Update at which this process began.
        best: Lowest mean WER on dev so far.
        stale: Evaluations since then.
        waited: Seconds that this process has waited for batches since the last line of the log.
    """

    config: TrainConfig
    device: str
    ranks: Ranks
    tokenizer: Tokenizer
    learner: Learner
    optimisers: list[torch.optim.Optimizer]
    batches: Batches
    average: MovingAverage
    guard: Guard
    dev: list[DevSet] = field(default_factory=list)
    step: int = 0
    given: int = 0
    heard: str = ""
    begun: int = 0
    best: float = math.inf
    stale: int = 0
    waited: float = 0.0
    skipped: list[str] = field(default_factory=list)

    @property
    def model(self) -> ArkForConditionalGeneration:
        """The model that learns."""
        return self.learner.model

    @property
    def listening(self) -> nn.Module:
        """Projections for the auxiliary losses; without parameters where there are none."""
        return self.learner.listening or nn.Module()

    @property
    def trained(self) -> list[nn.Parameter]:
        """Parameters that move."""
        return [p for p in self.learner.parameters() if p.requires_grad]

    @property
    def portion(self) -> int:
        """Batches of one update, of all processes together."""
        return self.config.optim.accumulate * self.ranks.size

    @property
    def packed(self) -> bool:
        """Whether weights that do not move are held as bfloat16."""
        config = self.config
        return config.precision == "bf16" and config.adapt.rank > 0 and not config.scale.shard

    @property
    def stalled(self) -> bool:
        """Whether dev has not become better for as long as the recipe allows."""
        return 0 < self.config.early_stop <= self.stale


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
    if distil and config.scale.shard:
        raise OptionError("scale.shard is not for distillation: rollouts need the whole model")
    if config.data.workers and not hasattr(os, "fork"):
        raise OptionError(
            f"data.workers is {config.data.workers}, but this system cannot fork processes; set it "
            "to 0"
        )
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device is cuda, but PyTorch finds no GPU here; leave it at auto")
    ranks = Ranks.join(device, always=config.scale.shard)
    latest = checkpoint.latest(config.path(config.output))
    if latest and not resume:
        output = config.path(config.output)
        raise OptionError(f"{output} has checkpoints already: add --resume, or name another output")

    start = config.path(config.start)
    tokenizer = Tokenizer.load(start)
    longest = tokenizer.features.clip_seconds
    data = dataclasses.replace(config.data, max_seconds=config.data.max_seconds or longest)
    config = dataclasses.replace(config, data=data)
    if config.data.max_seconds > longest:
        raise OptionError(
            f"data.max_seconds is {config.data.max_seconds:g}, but the model hears {longest:g} s; "
            "of longer clips it would learn words that it cannot hear"
        )
    sources = [
        dataclasses.replace(source, manifest=config.place(source.manifest))
        for source in config.data.train
    ]
    rows, too_long = gather_rows(sources, config.data.max_seconds)
    dev = dev_sets(config)
    learner = _learner(config, device, distil=distil)
    if config.scale.shard:
        sharding.shard(learner)
    optim = config.optim
    moving = optimisers(learner.model, learner.listening or nn.Module(), optim)
    batches = Batches(
        rows, (), tokenizer, config.augment, seed=config.seed, skip_bad=skip_bad, keep_sound=distil
    )
    average = MovingAverage(learner, optim.ema)
    guard = Guard(optim.explode, optim.give_up)
    run = Run(config, device, ranks, tokenizer, learner, moving, batches, average, guard, dev)
    if latest:
        restore(run, latest)
    refuse_strangers(ranks, run.step, rows)
    needed = run.given + max(optim.steps - run.step, 0) * run.portion
    batches.order = plan(rows, config.data, seed=config.seed, batches=needed)
    if ranks.first and run.heard not in {"", fingerprint_of(batches.order[: run.given])}:
        say(
            "goes on in another order than before (other rows, sizes of batches, or seed): some "
            "clips are heard twice or not at all in this epoch"
        )
    if ranks.first:
        hours = sum(row.seconds for row in rows) / 3600
        size = sum(p.numel() for p in learner.model.parameters()) / 1e6
        trained = sum(p.numel() for p in learner.model.parameters() if p.requires_grad) / 1e6
        say(
            f"{size:.2f} M parameters, {trained:.2f} M of them trained; {len(rows):,} clips, "
            f"{hours:.1f} h per epoch ({too_long:,} longer than {config.data.max_seconds:g} s left "
            f"out); update {run.step} of {optim.steps}; {ranks.size} x {device}"
            + ("" if latest or checkpoint.has_weights(start) else "; weights drawn at random")
        )
    return run


def _learner(config: TrainConfig, device: str, *, distil: bool) -> Learner:
    start = config.path(config.start)
    if checkpoint.has_weights(start):
        model = ArkForConditionalGeneration.load(start)
    elif config.adapt.rank or config.adapt.freeze:
        raise OptionError(f"{start} has no weights: there is nothing that adapt could keep")
    else:
        model = ArkForConditionalGeneration(ModelConfig.load(start))
        checkpoint.draw_weights(model, config.seed)
    lora.choose(model, config.adapt, config.seed)
    if config.precision == "bf16" and config.adapt.rank and not config.scale.shard:
        lora.pack(model)
    model.to(device).train()
    torch.manual_seed(config.seed)
    listens = not distil and max(config.optim.ctc_weight, config.optim.ctc_final) > 0
    learner = Learner(model, Listening(model.config).to(device) if listens else None)
    if config.scale.recompute:
        sharding.recompute(learner)
    return learner


def published(run: Run) -> dict[str, Tensor]:
    """The weights that a checkpoint has under their published names; empty on other processes.

    All processes must call this. The moving average is in it only where it is in place.
    """
    sharded = run.config.scale.shard
    state = sharding.gather(run.learner) if sharded else run.model.state_dict()
    return lora.merged(state, run.config.adapt) if run.ranks.first else {}


def save(run: Run) -> None:
    """A numbered checkpoint to go on from; older ones beyond ``keep`` are removed."""
    output = run.config.path(run.config.output)
    folder = output / f"step-{run.step:07d}"
    if run.ranks.first:
        checkpoint.sweep(output)
        checkpoint.begin(folder)
    run.ranks.wait()
    given = run.given + (run.step - run.begun) * run.portion
    with run.average.in_place():
        weights = published(run)
        state = {
            "step": run.step, "best": run.best, "stale": run.stale, "ranks": run.ranks.size,
            "given": given, "heard": fingerprint_of(run.batches.order[:given]),
            "portion": run.portion,
            "guard": run.guard.state(), "averaged": run.average.updates,
            "rng": torch.get_rng_state(),
        }  # fmt: skip
        if run.ranks.first:
            weights = {name: weight.to("cpu", torch.bfloat16) for name, weight in weights.items()}
    if run.config.scale.shard:
        shards = checkpoint.partial_of(folder) / sharding.SHARDS
        sharding.save_shards(shards, run.learner, run.optimisers, run.average.values)
    else:
        named = run.model.named_parameters(remove_duplicate=False)
        frozen = {name for name, parameter in named if not parameter.requires_grad}
        state |= {
            "model": {n: t for n, t in run.model.state_dict().items() if n not in frozen},
            "listening": run.listening.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in run.optimisers],
            "averages": run.average.values,
            "frozen": frozen_weights(run.model),
        }
    if run.ranks.first:
        checkpoint.save(folder, run.model, run.config, state, weights)
        for old in checkpoint.numbered(output)[: -run.config.keep]:
            checkpoint.remove(old)
    run.ranks.wait()


def _load(run: Run, state: Mapping[str, Any]) -> None:
    if state.get("frozen", frozen := frozen_weights(run.model)) != frozen:
        raise ValueError("its weights that are not trained are others")
    run.model.load_state_dict(state["model"], strict=False)
    run.listening.load_state_dict(state["listening"])
    for optimiser, saved in zip(run.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    run.average.load(state["averages"], state["averaged"])


def restore(run: Run, folder: Path) -> None:
    """Take weights, optimisers and random state of a checkpoint, also of other many processes.

    Raises:
        OptionError: The recipe trains something else.
        ModelError: The checkpoint has no state, or a damaged one.
    """
    refuse_changes(run.config, folder)
    state = checkpoint.load_state(folder)
    sharded = (folder / sharding.SHARDS).is_dir()
    if sharded != run.config.scale.shard:
        raise OptionError(
            f"{folder} was saved with scale.shard = {str(sharded).lower()}; a run goes on as it "
            "began (or start another from its weights: start = the folder)"
        )
    groups = [group for optimiser in run.optimisers for group in optimiser.param_groups]
    asked = [{key: group[key] for key in _OF_THE_RECIPE} for group in groups]
    if sharded:
        shards = folder / sharding.SHARDS
        sharding.load_shards(shards, run.learner, run.optimisers, run.average.values)
        run.average.updates = state["averaged"]
    else:
        try:
            _load(run, state)
        except (RuntimeError, ValueError, KeyError) as error:
            why = " ".join(str(error).split())
            raise OptionError(
                f"{folder} was not begun from {run.config.start} ({why:.150}); a run goes on as it "
                "began"
            ) from None
    # The state of an optimiser has its old rates, too: those of the recipe go before them.
    groups = [group for optimiser in run.optimisers for group in optimiser.param_groups]
    for group, values in zip(groups, asked, strict=True):
        group.update(values)
    run.step = run.begun = int(state["step"])
    run.best, run.stale, run.given = float(state["best"]), state["stale"], state["given"]
    run.heard = state.get("heard", "")
    optim = run.config.optim
    run.guard = Guard(optim.explode, optim.give_up, **state["guard"])
    torch.set_rng_state(state["rng"])
    if run.ranks.first and (state["ranks"], state["portion"]) != (run.ranks.size, run.portion):
        say(
            f"goes on with {run.ranks.size} processes instead of {state['ranks']}: an update is "
            f"{run.portion} batches instead of {state['portion']} (optim.accumulate, per process)"
        )

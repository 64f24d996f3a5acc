"""What a training run is made of, read from a TOML file.

Every key has a default that is written back resolved into each checkpoint, so a checkpoint says how
it came to be. Unknown keys are refused: a misspelt option must not be ignored.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ark_asr.engines.base import check_threads
from ark_asr.errors import OptionError
from ark_asr.models.home import expand
from ark_asr.training.overrides import Overrides
from ark_asr.training.tables import build

_NONE = Overrides()
PARTS = ("encoder", "adapter", "decoder")
_LOUD = 100.0  # dB: more than 16 bits have


@dataclass(frozen=True, slots=True)
class Source:
    """One manifest to train on.

    Attributes:
        manifest: JSON lines with ``audio`` and ``text``; ``begin_time`` and ``end_time`` optional.
        repeat: How often its rows occur per epoch.
        augment: Change the sound (speed, gain, noise) anew each time it is heard.
    """

    manifest: str
    repeat: int = 1
    augment: bool = True


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is heard, and in which portions.

    Attributes:
        train: Manifests to learn from.
        dev: Manifests to score with greedy decoding.
        dev_limit: Rows scored per dev manifest, from all of its parts; 0 for all.
        batch_seconds: Seconds of sound, padding included, in one batch of one process.
        batch_clips: Most clips in one batch.
        max_seconds: Longer clips are left out (counted aloud); 0: longer than the model hears.
        ramp_steps: Over so many batches the longest clip grows from ``ramp_seconds`` to
            ``max_seconds``: a decoder that is new learns to listen on short clips first.
        ramp_seconds: Longest clip at the first batch.
        workers: Processes that read and prepare sound.
    """

    train: tuple[Source, ...] = ()
    dev: tuple[str, ...] = ()
    dev_limit: int = 100
    batch_seconds: float = 64.0
    batch_clips: int = 64
    max_seconds: float = 15.0
    ramp_steps: int = 0
    ramp_seconds: float = 3.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How sound is changed, each with its probability or range.

    Attributes:
        speed: Speed and pitch change by up to this fraction.
        gain_db: Level changes by up to this many dB.
        noise: Probability of added noise.
        noise_snr_db: Signal-to-noise ratio of that noise, drawn between these.
        freq_masks: SpecAugment: masked bands of mel bins.
        freq_width: Widest band.
        time_masks: SpecAugment: masked stretches per ten seconds.
        time_width: Longest stretch in frames of 10 ms.
    """

    speed: float = 0.1
    gain_db: float = 6.0
    noise: float = 0.3
    noise_snr_db: tuple[float, float] = (10.0, 35.0)
    freq_masks: int = 2
    freq_width: int = 20
    time_masks: int = 3
    time_width: int = 15


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How weights move.

    Attributes:
        matrix_rate: Peak learning rate of matrices, which move by Muon (orthogonalised momentum).
        other_rate: Peak learning rate of embeddings, convolutions, norms and biases (AdamW).
        method: ``muon`` as above, or ``adamw`` for everything, each at its rate.
        weight_decay: Of the matrices.
        steps: Updates in the whole run.
        warmup: Updates with a rising rate.
        decay: Last fraction of the run in which the rate falls (cosine) to ``floor``.
        floor: Final fraction of the peak rate.
        accumulate: Batches per update and process.
        clip: Largest norm of the gradient.
        explode: An update whose gradient is so many times larger than usual is skipped; 0 never.
        give_up: The run stops after so many skipped updates in a row.
        ema: Decay of the moving average of the weights that is scored and exported; 0 for none.
        ctc_weight: Weight of the auxiliary CTC losses, see `listening`; their projections are not
            part of the model. 0, here and below, for a model that has learnt to listen.
        ctc_final: Weight of those losses at the end of the run.
    """

    matrix_rate: float = 2e-3
    other_rate: float = 2e-3
    method: str = "muon"
    weight_decay: float = 0.05
    steps: int = 10_000
    warmup: int = 200
    decay: float = 1.0
    floor: float = 0.02
    accumulate: int = 1
    clip: float = 1.0
    explode: float = 20.0
    give_up: int = 10
    ema: float = 0.0
    ctc_weight: float = 0.5
    ctc_final: float = 0.1


@dataclass(frozen=True, slots=True)
class AdaptConfig:
    """What of a model is trained.

    Attributes:
        freeze: Parts that stay as they are: ``encoder``, ``adapter``, ``decoder``.
        rank: LoRA (arXiv 2106.09685): instead of the weights, corrections of this rank to the
            linear layers of the parts that are not frozen are trained. 0 trains the weights.
        alpha: The corrections are multiplied by ``alpha / rank``.
        layers: Ends of the names of the layers that get corrections.
    """

    freeze: tuple[str, ...] = ()
    rank: int = 0
    alpha: float = 32.0
    layers: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "fc1", "fc2",
        "gate_proj", "up_proj", "down_proj", "adapting.0", "adapting.2",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScaleConfig:
    """How a model that is too large for one device is trained.

    Attributes:
        shard: Weights, gradients and optimiser states are spread over all processes (FSDP2).
        recompute: Activations of a layer are computed again when they are needed (activation
            checkpointing): a third more work, a fraction of the memory.
    """

    shard: bool = False
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run.

    Attributes:
        start: Checkpoint folder to start from. Without weights in it they are drawn at random.
        output: Folder for checkpoints, log and curves.
        seed: Of weights, order and augmentation.
        precision: ``bf16`` (mixed) or ``fp32``.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of one process; 0 leaves the choice to PyTorch.
        log_every: Updates between lines of the log.
        eval_every: Updates between evaluations.
        save_every: Updates between checkpoints.
        keep: Checkpoints that are kept; the best on dev is kept besides.
        early_stop: The run ends after so many evaluations without a better one; 0 never.
        base: Folder of the recipe, to which its paths are relative.
    """

    start: str
    output: str
    seed: int = 1
    precision: str = "bf16"
    device: str = "auto"
    threads: int = 0
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 250
    keep: int = 2
    early_stop: int = 0
    base: str = "."
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    adapt: AdaptConfig = dataclasses.field(default_factory=AdaptConfig)
    scale: ScaleConfig = dataclasses.field(default_factory=ScaleConfig)

    @classmethod
    def load(cls, path: str | Path, overrides: Overrides = _NONE) -> Self:
        """Read a TOML file; relative paths in it are relative to it.

        Raises:
            OptionError: No such file, not TOML, or a key that is unknown, missing or mistyped.
        """
        return cls.from_table(overrides.apply(read_recipe(path)), Path(path))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], path: Path) -> Self:
        """Build and check what was read from a recipe.

        Raises:
            OptionError: A key is unknown, missing or mistyped, or has a value without sense.
        """
        if "base" in table:
            raise OptionError(f"{path}: unknown base; paths are relative to the recipe")
        config = build(cls, {**table, "base": str(path.resolve().parent)}, str(path))
        config._check(str(path))
        return config

    def path(self, name: str) -> Path:
        """A path of the recipe, which is relative to the recipe's own folder."""
        return (Path(self.base) / expand(name)).resolve()

    def place(self, name: str) -> str:
        """The same of a manifest, which may be an address such as ``s3://bucket/train.jsonl``."""
        return name if "://" in name else str(self.path(name))

    def as_written(self) -> dict[str, Any]:
        """All values, defaults included, with paths as the recipe has them."""
        values = dataclasses.asdict(self)
        del values["base"]
        return values

    def _check(self, where: str) -> None:
        if not (self.start and self.output):
            missing = "output" if self.start else "start"
            raise OptionError(f"{where}: {missing} is empty; say it with --{missing}")
        if not self.data.train:
            raise OptionError(f"{where}: data.train names no manifest")
        if self.precision not in {"bf16", "fp32"} or self.device not in {"auto", "cpu", "cuda"}:
            raise OptionError(f"{where}: precision is bf16 or fp32, device is auto, cpu or cuda")
        if self.optim.method not in {"muon", "adamw"}:
            raise OptionError(f"{where}: optim.method is muon or adamw, not {self.optim.method}")
        wrong = sorted(set(self.adapt.freeze) - set(PARTS))
        if wrong or set(self.adapt.freeze) == set(PARTS):
            found = ", ".join(wrong) or "all"
            raise OptionError(f"{where}: adapt.freeze has {found}; it names some of {PARTS}")
        if not 0 <= self.optim.ema < 1:
            raise OptionError(f"{where}: optim.ema is from 0 up to, not including, 1")
        if self.adapt.rank < 0 or self.early_stop < 0 or self.optim.explode < 0:
            raise OptionError(f"{where}: adapt.rank, early_stop and optim.explode are 0 or more")
        if self.early_stop and not self.data.dev:
            raise OptionError(f"{where}: early_stop needs manifests in data.dev")
        positive = {
            "data.batch_seconds": self.data.batch_seconds,
            "data.batch_clips": self.data.batch_clips,
            "optim.steps": self.optim.steps,
            "optim.accumulate": self.optim.accumulate,
            "optim.give_up": self.optim.give_up,
            "optim.clip": self.optim.clip,
            "adapt.alpha": self.adapt.alpha,
            "log_every": self.log_every,
            "eval_every": self.eval_every,
            "save_every": self.save_every,
            "keep": self.keep,
        } | {f"repeat of {s.manifest}": s.repeat for s in self.data.train}
        for name, value in positive.items():
            if not value > 0:
                raise OptionError(f"{where}: {name} must be more than 0, not {value}")
        self._check_ranges(where)

    def _check_ranges(self, where: str) -> None:
        tables: Any = ("", self), ("data.", self.data), ("augment.", self.augment)
        for table, values in (*tables, ("optim.", self.optim)):
            for field in dataclasses.fields(values):
                value = getattr(values, field.name)
                if isinstance(value, int | float) and value < 0:
                    name = f"{table}{field.name}"
                    raise OptionError(f"{where}: {name} must be 0 or more, not {value}")
        check_threads(self.threads or None)
        if self.seed >= 2**63:
            raise OptionError(f"{where}: seed must be less than 2^63")
        low, high = self.augment.noise_snr_db
        if not -_LOUD <= low <= high <= _LOUD or self.augment.gain_db > _LOUD:
            raise OptionError(
                f"{where}: augment.noise_snr_db is the lower ratio and the higher one, and neither "
                f"it nor gain_db is beyond {_LOUD:g} dB"
            )
        if max(self.augment.noise, self.optim.decay) > 1 or self.augment.speed >= 1:
            raise OptionError(
                f"{where}: augment.noise and optim.decay are at most 1, augment.speed is less"
            )


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        OptionError: No such file, or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not valid TOML ({error})") from None

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
from typing import Any, TypeVar, cast

from ark_asr.errors import OptionError

T = TypeVar("T")


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
        dev_limit: Rows scored per dev manifest; 0 for all.
        batch_seconds: Seconds of sound, padding included, in one batch of one process.
        batch_clips: Most clips in one batch.
        max_seconds: Longer clips are left out (counted aloud).
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
        weight_decay: Of the matrices.
        steps: Updates in the whole run.
        warmup: Updates with a rising rate.
        decay: Last fraction of the run in which the rate falls (cosine) to ``floor``.
        floor: Final fraction of the peak rate.
        accumulate: Batches per update and process.
        clip: Largest norm of the gradient.
        ctc_weight: Weight of the auxiliary CTC losses, see `listening`; their projections are not
            part of the model.
        ctc_final: Weight of those losses at the end of the run.
    """

    matrix_rate: float = 2e-3
    other_rate: float = 2e-3
    weight_decay: float = 0.05
    steps: int = 10_000
    warmup: int = 200
    decay: float = 1.0
    floor: float = 0.02
    accumulate: int = 1
    clip: float = 1.0
    ctc_weight: float = 0.5
    ctc_final: float = 0.1


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
    base: str = "."
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)

    @classmethod
    def load(cls, path: str | Path) -> TrainConfig:
        """Read a TOML file; relative paths in it are relative to it.

        Raises:
            OptionError: No such file, not TOML, or a key that is unknown, missing or mistyped.
        """
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"{path}: not valid TOML ({error})") from None
        config = _build(cls, {**table, "base": str(path.resolve().parent)}, str(path))
        config._check(str(path))
        return config

    def path(self, name: str) -> Path:
        """A path of the recipe, which is relative to the recipe's own folder."""
        return (Path(self.base) / Path(name).expanduser()).resolve()

    def as_written(self) -> dict[str, Any]:
        """All values, defaults included, with paths as the recipe has them."""
        values = dataclasses.asdict(self)
        del values["base"]
        return values

    def _check(self, where: str) -> None:
        if not self.data.train:
            raise OptionError(f"{where}: data.train names no manifest")
        if self.precision not in {"bf16", "fp32"} or self.device not in {"auto", "cpu", "cuda"}:
            raise OptionError(f"{where}: precision is bf16 or fp32, device is auto, cpu or cuda")
        positive = {
            "data.batch_seconds": self.data.batch_seconds,
            "data.batch_clips": self.data.batch_clips,
            "data.max_seconds": self.data.max_seconds,
            "optim.steps": self.optim.steps,
            "optim.accumulate": self.optim.accumulate,
            "log_every": self.log_every,
            "eval_every": self.eval_every,
            "save_every": self.save_every,
            "keep": self.keep,
        } | {f"repeat of {s.manifest}": s.repeat for s in self.data.train}
        for name, value in positive.items():
            if value <= 0:
                raise OptionError(f"{where}: {name} must be more than 0, not {value}")


def _build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table, nested ones included, with every key and type checked."""
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    unknown = sorted(table.keys() - fields.keys())
    if unknown:
        raise OptionError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        here = f"{where}: {name}"
        if name not in table:
            if field.default is field.default_factory is dataclasses.MISSING:
                raise OptionError(f"{here} is missing")
            continue
        value = table[name]
        if kind is TrainConfig and name in _NESTED:
            if not isinstance(value, Mapping):
                raise OptionError(f"{here} must be a table")
            values[name] = _build(_NESTED[name], value, here)
        elif name == "train":
            if not isinstance(value, list):
                raise OptionError(f"{here} must be an array of tables")
            values[name] = tuple(_build(Source, item, here) for item in value)
        else:
            values[name] = _scalar(field.default, value, here)
    return kind(**values)


def _scalar(default: object, value: object, where: str) -> object:
    if isinstance(default, tuple):
        if not isinstance(value, list):
            raise OptionError(f"{where} must be an array")
        return tuple(value)
    expected = str if default is dataclasses.MISSING else type(default)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise OptionError(f"{where} is {value!r}, expected {expected.__name__}")
    return value


_NESTED: dict[str, type] = {"data": DataConfig, "augment": AugmentConfig, "optim": OptimConfig}

"""Checkpoints: a folder that any engine can load, and beside it what a run needs to go on."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError, TrainingError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import CONFIG_FILE, GENERATION_FILE, PREPROCESSOR_FILE
from ark_asr.models.tokenizer import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from ark_asr.models.weights import INDEX_FILE, WEIGHTS_FILE
from ark_asr.training.config import TrainConfig

STATE_FILE = "training_state.pt"
RECIPE_FILE = "training_config.json"
_NUMBERED = re.compile(r"step-(\d+)")
_COPIED = (CONFIG_FILE, PREPROCESSOR_FILE, GENERATION_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)


def save(
    folder: Path, model: ArkForConditionalGeneration, config: TrainConfig,
    state: dict[str, Any] | None, weights: Mapping[str, Tensor] | None = None,
) -> None:  # fmt: skip
    """Write a checkpoint; it appears under its name only when it is whole.

    Args:
        folder: Where to; replaced if it exists. What `begin` was given to write stays in it.
        model: Weights, written as bfloat16 with their published names.
        config: The resolved recipe, saved beside them.
        state: What :func:`load_state` gives back; ``None`` for a checkpoint that only runs.
        weights: Of the whole model, where those of ``model`` are only a part, or not the ones.

    Raises:
        TrainingError: It cannot be written, such as on a full disk; nothing of it is left.
    """
    partial = partial_of(folder)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        copy_texts(config.path(config.start), partial)
        (partial / RECIPE_FILE).write_text(json.dumps(config.as_written(), indent=2) + "\n")
        model.save(partial, weights=weights)
        if state is not None:
            torch.save(state, partial / STATE_FILE)
    # PyTorch and safetensors have errors of their own for a full disk.
    except (OSError, RuntimeError, SafetensorError) as error:
        begin(folder)
        why = " ".join(str(error).split())
        raise TrainingError(
            f"{folder}: cannot be written ({why:.200}); make room and go on with --resume"
        ) from None
    if folder.exists():
        folder.replace(_old(folder))
    partial.replace(folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def partial_of(folder: Path) -> Path:
    """Where a checkpoint is put together."""
    return folder.with_name(folder.name + ".partial")


def _old(folder: Path) -> Path:
    """Where a checkpoint is until the next one has its name."""
    return folder.with_name(folder.name + ".old")


def begin(folder: Path) -> None:
    """Forget what an interrupted run may have left of a checkpoint.

    If it ended just when the old one had made room for the new one, the old one comes back.
    """
    shutil.rmtree(partial_of(folder), ignore_errors=True)
    if _old(folder).exists() and not folder.exists():
        _old(folder).replace(folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def sweep(output: Path) -> None:
    """Remove what interrupted runs have left of checkpoints that are not written again."""
    for path in output.glob("*.partial"):
        if path.stem == "best" or _NUMBERED.fullmatch(path.stem):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def derived(source: Path, target: Path) -> Iterator[Path]:
    """A folder for a checkpoint that is made of another; it has its name when all is in it.

    Configuration and tokenizer of ``source`` are there already. After an error nothing is left.

    Raises:
        OptionError: The target exists.
    """
    if target.exists():
        raise OptionError(f"{target} exists already; name another folder")
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        copy_texts(source, partial)
        yield partial
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def copy_texts(source: Path, target: Path) -> None:
    """Copy what belongs to a checkpoint besides weights: configuration and tokenizer."""
    for name in _COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def latest(output: Path) -> Path | None:
    """The numbered checkpoint with the highest step, if there is any."""
    found = numbered(output)
    return found[-1] if found else None


def numbered(output: Path) -> list[Path]:
    """Numbered checkpoints, oldest first."""
    steps = ((m, p) for p in output.glob("step-*") if (m := _NUMBERED.fullmatch(p.name)))
    return [path for match, path in sorted(steps, key=lambda pair: int(pair[0][1]))]


def remove(folder: Path) -> None:
    """Delete a checkpoint."""
    shutil.rmtree(folder)


def load_state(folder: Path) -> dict[str, Any]:
    """The training state of a checkpoint of this project (tensors and plain values only).

    Raises:
        ModelNotFoundError: The checkpoint was saved without one.
        ModelFormatError: It is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; this checkpoint cannot be continued")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = " ".join(str(error).split())
        raise ModelFormatError(
            f"{path}: cannot be read ({why:.100}); delete {folder.name} to go on from the "
            "checkpoint before it"
        ) from None
    return state


def has_weights(start: Path) -> bool:
    """Whether training goes on from weights; a start without any has them drawn at random.

    Raises:
        OptionError: They are there, but as graphs, which cannot be trained.
    """
    if any((start / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE)):
        return True
    if any(start.glob("*.onnx")):
        raise OptionError(
            f"{start} is a package, which cannot be trained; name the checkpoint it was made of"
        )
    return False


def draw_weights(model: ArkForConditionalGeneration, seed: int) -> None:
    """Random start: normal weights that shrink with the fan-in, residual branches near zero."""
    generator = torch.Generator().manual_seed(seed)
    residual = ("out_proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            elif "embed" in name:
                nn.init.normal_(weight, std=0.02, generator=generator)
            else:
                fan_in = weight[0].numel()
                std = fan_in**-0.5 * (0.1 if name.endswith(residual) else 1.0)
                nn.init.normal_(weight, std=std, generator=generator)

"""What must not differ between a run and its continuation, nor between the processes of one run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ark_asr.errors import OptionError
from ark_asr.training.checkpoint import RECIPE_FILE
from ark_asr.training.config import TrainConfig
from ark_asr.training.order import fingerprint
from ark_asr.training.ranks import Ranks
from ark_asr.training.rows import Row

_ALWAYS = ("freeze", "rank")  # the other keys of adapt are for corrections


def refuse_changes(config: TrainConfig, folder: Path) -> None:
    """Refuse to go on with other things that are trained than a checkpoint has a state of.

    Raises:
        OptionError: Names the keys of the recipe.
    """
    path = folder / RECIPE_FILE
    saved = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    before, now = map(_trained_by, (saved, json.loads(json.dumps(config.as_written()))))
    changed = [name for name in before if before[name] != now.get(name)]
    if changed:
        raise OptionError(
            f"{folder} was saved with another {', '.join(changed)}; a run goes on as it began (or "
            "start another from its weights: start = the folder, and another output)"
        )


def _trained_by(table: Mapping[str, Any]) -> dict[str, object]:
    """What of a recipe, as JSON has it, says which parameters there are and how they move."""
    optim, adapt = table.get("optim", {}), table.get("adapt", {})
    told = adapt if adapt.get("rank") else {name: adapt[name] for name in _ALWAYS if name in adapt}
    found = {f"adapt.{name}": value for name, value in told.items()}
    found |= {"optim.method": optim["method"]} if "method" in optim else {}
    # Their values may change, but not whether there is such a thing.
    if "ema" in optim:
        found["optim.ema"] = optim["ema"] > 0
    if "ctc_weight" in optim and "ctc_final" in optim:
        found["optim.ctc_weight"] = max(optim["ctc_weight"], optim["ctc_final"]) > 0
    return found


def frozen_weights(model: nn.Module) -> str:
    """A fingerprint of the weights that are not trained, of which a checkpoint has no copy.

    Of their beginnings, as bfloat16: in which they may be held.
    """
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            some = weight.detach().flatten()[:256].to("cpu", torch.bfloat16)
            digest.update(name.encode() + some.float().numpy().tobytes())
    return digest.hexdigest()


def refuse_strangers(ranks: Ranks, step: int, rows: Sequence[Row]) -> None:
    """Refuse to share updates with processes that stand elsewhere or read other manifests.

    Nothing else would tell: they would hear some clips twice and others never.

    Raises:
        OptionError: This process differs from the first.
    """
    if ranks.size == 1:
        return
    mine = [float(step), float(fingerprint(rows))]
    first = ranks.share(mine)
    if first[0] != mine[0]:
        raise OptionError(
            f"process {ranks.rank} stands at update {step}, the first at {first[0]:g}; the output "
            "folder must be on a disk that all machines see"
        )
    if first[1] != mine[1]:
        raise OptionError(
            f"process {ranks.rank} reads other rows than the first; the manifests must be the same "
            "on all machines"
        )

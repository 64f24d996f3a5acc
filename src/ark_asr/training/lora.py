"""LoRA: small corrections to linear layers are trained, and become part of them at the end.

Hu et al., arXiv 2106.09685: ``y = W x + alpha / rank * B A x`` with ``A`` drawn at random and ``B``
zero, so that training begins with the model as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.training.config import AdaptConfig

_DOWN, _UP = "lora_down", "lora_up"
_PARTS = {"encoder": "audio_encoder.whisper", "adapter": "audio_encoder", "decoder": "model"}


class LoraLinear(nn.Linear):
    """A linear layer with a correction; its own weight and bias keep their names.

    Args:
        layer: Whose weight and bias are taken over, not copied.
        rank: Of the correction.
        scale: What it is multiplied by.
    """

    def __init__(self, layer: nn.Linear, rank: int, scale: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.scale = scale
        self.lora_down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.lora_up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        correction = functional.linear(functional.linear(x, self.lora_down), self.lora_up)
        return functional.linear(x, self.weight, self.bias) + self.scale * correction


def part_of(name: str) -> str:
    """The part to which a parameter or layer belongs: encoder, adapter or decoder."""
    return next((part for part, begin in _PARTS.items() if name.startswith(begin)), "decoder")


def choose(model: ArkForConditionalGeneration, config: AdaptConfig, seed: int) -> None:
    """Make trainable what is to be trained, and nothing else; add LoRA if it is asked for.

    Raises:
        OptionError: No layer would get a correction, or each one of more than its own rank.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(config.rank == 0 and part_of(name) not in config.freeze)
    if not config.rank:
        return
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and name.endswith(config.layers)
        and part_of(name) not in config.freeze
    ]
    if not layers:
        raise OptionError(f"adapt.layers names no layer that is not frozen: {config.layers}")
    most = max(min(layer.in_features, layer.out_features) for _, layer in layers)
    if config.rank > most:
        raise OptionError(f"adapt.rank is {config.rank}; these layers have at most {most}")
    for name, layer in layers:
        parent, _, last = name.rpartition(".")
        wrapped = LoraLinear(layer, config.rank, config.alpha / config.rank)
        nn.init.normal_(wrapped.lora_down, std=layer.in_features**-0.5, generator=generator)
        setattr(model.get_submodule(parent), last, wrapped.train(layer.training))


def merged(state: Mapping[str, Tensor], config: AdaptConfig) -> dict[str, Tensor]:
    """Weights under their published names, corrections added in float32 and rounded once.

    Args:
        state: Of a model that may have corrections.
        config: Those it was made with.
    """
    weights = {name: t for name, t in state.items() if not name.endswith((_DOWN, _UP))}
    for name in state:
        if name.endswith(_DOWN):
            layer = name.removesuffix(_DOWN)
            change = state[layer + _UP].float() @ state[name].float()
            weight = weights[f"{layer}weight"]
            whole = weight.float() + config.alpha / config.rank * change
            weights[f"{layer}weight"] = whole.to(weight.dtype)
    return weights


def pack(model: ArkForConditionalGeneration) -> None:
    """Hold the weights of frozen linear layers in bfloat16, as published checkpoints do.

    Half the memory, and nothing is lost if they came from such a checkpoint. The table of
    embeddings, norms and convolutions stay as they are: autocast does not convert their inputs.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and layer is not model.lm_head:
            for parameter in (layer.weight, layer.bias):
                if parameter is not None and not parameter.requires_grad:
                    parameter.data = parameter.data.bfloat16()

"""Where a decoder looks while it chooses: all engines and precisions against the mathematics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ark_asr.engines.attention import chosen_heads
from ark_asr.engines.base import Aligner
from ark_asr.engines.ort import OnnxEngine
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.graphs.convert import build_package
from ark_asr.modeling.decoder import DecoderAttention
from ark_asr.modeling.decoder import _rotate_halves as rotate_halves
from ark_asr.models.calibration import Head
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Prompt
from checkpoints import write_checkpoint

# Slots and tokens of each clip: more tokens than slots, one of each, none at all.
CLIPS = ((30, 7), (3, 12), (1, 1), (18, 0), (29, 7))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attention")
    config = write_checkpoint(folder / "source", layers=3, heads=4, kv_heads=2)
    for precision in ("fp32", "int8", "int4"):
        build_package(folder / "source", folder / precision, precision=precision)
    tokenizer = Tokenizer.load(folder / "source", config)
    rng = np.random.default_rng(2)
    prompts, texts = [], []
    for slots, tokens in CLIPS:
        audio = rng.standard_normal((slots, config.decoder.hidden_size)).astype(np.float32)
        prompts.append(Prompt(tokenizer.prompt(slots), audio))
        texts.append(rng.integers(0, 256, tokens).tolist())
    return SimpleNamespace(folder=folder, config=config, prompts=prompts, texts=texts)


@pytest.fixture(scope="module")
def truth(built):
    """Attention as the layers themselves compute it, of whole sequences without a cache."""
    import torch

    engine = TorchEngine.load(built.folder / "source")
    model, text = engine.model, built.config.decoder
    found = []
    for prompt, ids in zip(built.prompts, built.texts, strict=True):
        weights = []

        def look(module, inputs, _output, weights=weights):
            x, (cos, sin) = inputs[0], inputs[1]
            query, key = (
                rotate_halves(proj(x).unflatten(-1, (-1, text.head_dim)).transpose(1, 2), cos, sin)
                for proj in (module.q_proj, module.k_proj)
            )
            key = key.repeat_interleave(text.heads // text.kv_heads, dim=1)
            scores = query @ key.transpose(-1, -2) / text.head_dim**0.5
            hidden = torch.ones(scores.shape[-2:]).triu(1).bool()
            weights.append(scores.masked_fill(hidden, -torch.inf).softmax(-1)[0])

        hooks = [
            module.register_forward_hook(look)
            for module in model.modules()
            if isinstance(module, DecoderAttention)
        ]
        whole = torch.tensor([[*prompt.token_ids, *ids]])
        with torch.inference_mode():
            model.model(model.embed_prompt(whole, torch.from_numpy(prompt.audio)[None]))
        for hook in hooks:
            hook.remove()
        slots = np.asarray(prompt.token_ids) == built.config.audio_token_id
        first = len(prompt.token_ids) - 1
        seen = torch.cat(weights)[:, first : first + len(ids)][:, :, np.flatnonzero(slots)]
        found.append((seen / seen.sum(-1, keepdim=True)).numpy())
    return found


@pytest.mark.parametrize("name", ["fp32", "source"])
def test_attention_is_what_the_layers_compute(built, truth, name):
    engine = (TorchEngine if name == "source" else OnnxEngine).load(built.folder / name)
    assert isinstance(engine, Aligner)
    found = engine.attend(built.prompts, built.texts)
    for (slots, tokens), one, expected in zip(CLIPS, found, truth, strict=True):
        assert one.shape == (12, tokens, slots)
        np.testing.assert_allclose(one, expected, atol=2e-5)


@pytest.mark.parametrize(("name", "limit"), [("int8", 0.15), ("int4", 0.8)])
def test_fewer_bits_look_at_nearly_the_same_places(built, truth, name, limit):
    found = OnnxEngine.load(built.folder / name).attend(built.prompts, built.texts)
    for one, expected in zip(found, truth, strict=True):
        assert np.abs(one - expected).sum(axis=-1).max(initial=0) < limit


def test_chosen_heads_in_their_order(built, truth):
    engine = OnnxEngine.load(built.folder / "fp32")
    heads = [Head(2, 3), Head(0, 1), Head(2, 0)]
    for one, expected in zip(engine.attend(built.prompts, built.texts, heads), truth, strict=True):
        np.testing.assert_allclose(one, expected[[11, 1, 8]], atol=2e-5)


@pytest.mark.parametrize("head", [Head(3, 0), Head(0, 4), Head(-1, 0)])
def test_a_head_that_is_not_there(built, head):
    for engine in (
        OnnxEngine.load(built.folder / "int8"),
        TorchEngine.load(built.folder / "source"),
    ):
        with pytest.raises(OptionError, match=f"no head {head.head} in layer {head.layer}"):
            engine.attend([], [], [head])


def test_a_text_too_long_is_refused(built):
    engine = OnnxEngine.load(built.folder / "int8")
    with pytest.raises(OptionError, match="positions; the model has 1024"):
        engine.attend(built.prompts[:1], [[65] * 1024])


def test_graphs_from_before_word_times(built, monkeypatch):
    engine = OnnxEngine.load(built.folder / "int8")

    monkeypatch.setattr(engine._decoder, "_outputs", {"logits"})
    with pytest.raises(ModelFormatError, match="older than word times"):
        engine.attend([], [])


def test_all_heads_layer_by_layer(built):
    heads = chosen_heads(built.config.decoder, None)
    assert heads[:5] == [Head(0, 0), Head(0, 1), Head(0, 2), Head(0, 3), Head(1, 0)]

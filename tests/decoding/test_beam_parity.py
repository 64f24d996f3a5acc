"""Beam search on a random model, against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from ark_asr.decoding.beam import beam
from ark_asr.engines.torch import TorchEngine
from ark_asr.types import Prompt
from checkpoints import write_checkpoint

AUDIO = 259  # has no embedding of its own, so it must not be said


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The same random decoder in our engine and in transformers."""
    folder = tmp_path_factory.mktemp("random")
    config = write_checkpoint(folder, seed=1, tied=False)
    text, model = config.decoder, TorchEngine.load(folder).model
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=text.vocab_size, hidden_size=text.hidden_size,
            intermediate_size=text.ffn_size, num_hidden_layers=text.layers,
            num_attention_heads=text.heads, num_key_value_heads=text.kv_heads,
            rms_norm_eps=text.rms_norm_eps, rope_theta=text.rope_theta,
            tie_word_embeddings=False, max_position_embeddings=text.max_positions,
        )
    ).eval()  # fmt: skip
    names = theirs.state_dict().keys()
    theirs.load_state_dict({name: model.state_dict()[name] for name in names})
    assert config.audio_token_id == AUDIO
    return TorchEngine(model, np.array([AUDIO])), theirs


def said(engine, asked, end, **settings):
    prompts = [Prompt(ids, np.zeros((0, 64), np.float32)) for ids in asked.tolist()]
    return beam(engine, prompts, rules=[], stop_ids={end}, max_new_tokens=12, **settings)


def score(theirs, asked, tokens, end, penalty):
    """What their model thinks of a hypothesis."""
    path = tokens if len(tokens) == 12 else [*tokens, end]
    ids = torch.tensor([*asked, *path])[None]
    with torch.inference_mode():
        logits = theirs(ids).logits[0, len(asked) - 1 : -1].clone()
        logits[:, AUDIO] = -torch.inf
        chosen = logits.log_softmax(dim=-1)[range(len(path)), path]
    return float(chosen.sum()) / len(path) ** penalty


@pytest.mark.parametrize("width", [2, 4, 8])
def test_as_good_as_transformers(models, width):
    engine, theirs = models
    asked = np.random.default_rng(2 + width).integers(0, 256, (6, 9))
    # An end that is likely somewhere on the way, so that hypotheses of many lengths compete.
    end = said(engine, asked, 0, width=1)[0].token_ids[4]
    for penalty in (0.0, 1.0):
        with torch.inference_mode():
            expected = theirs.generate(
                torch.tensor(asked), attention_mask=torch.ones(asked.shape, dtype=torch.int64),
                num_beams=width, length_penalty=penalty, max_new_tokens=12, do_sample=False,
                eos_token_id=end, pad_token_id=end, early_stopping=False,
                suppress_tokens=[AUDIO], renormalize_logits=True,
            )  # fmt: skip
        found = said(engine, asked, end, width=width, length_penalty=penalty)
        same = 0
        for prompt, hypothesis, ids in zip(asked, found, expected[:, 9:].tolist(), strict=True):
            other = ids[: ids.index(end)] if end in ids else ids
            ours, best = (
                score(theirs, prompt, list(tokens), end, penalty)
                for tokens in (hypothesis.token_ids, other)
            )
            # They leave out ends that are not among the best `width` ways to go on; we do not.
            assert ours >= best - 1e-5
            same += list(hypothesis.token_ids) == other
        assert same == len(asked) or not penalty
        assert same >= 3

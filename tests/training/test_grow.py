"""Wider checkpoints say what the old ones say, and can become more."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import ark_asr
import checkpoints
from ark_asr.cli import app
from ark_asr.errors import ModelNotFoundError, OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig
from ark_asr.training.grow import grow_checkpoint, grow_weights
from ark_asr.training.validate import plain

GEOMETRIES = [
    {},
    {"tied": False, "merge": 2},
    {"use_rope": False, "head_dim": 32, "size": 32, "encoder_heads": 4},
]


def batch(seed=0):
    """Two prompts with sound, of different length."""
    noise = torch.Generator().manual_seed(seed)
    audio = checkpoints.config_dict()["audio_token_id"]
    token_ids = torch.randint(97, 122, (2, 24), generator=noise)
    token_ids[:, 3:9] = audio
    return token_ids, torch.randn(2, 128, 50, generator=noise)


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_wider_model_gives_the_same_logits(tmp_path, geometry, times):
    checkpoints.write_checkpoint(tmp_path / "old", **geometry)
    old = ArkForConditionalGeneration.load(tmp_path / "old")
    before, after = grow_checkpoint(tmp_path / "old", tmp_path / "new", times=times)
    config = ModelConfig.load(tmp_path / "new")
    assert config.encoder.head_dim == old.config.encoder.head_dim
    assert config.decoder.head_dim == old.config.decoder.head_dim
    assert config.encoder.ffn_size == times * old.config.encoder.ffn_size
    assert before == sum(p.numel() for p in old.parameters())
    assert times < after / before < times**2

    # As it was computed: what the file holds is rounded to bfloat16.
    noise = torch.Generator().manual_seed(0)
    merge = config.merge_factor
    weights = grow_weights(old.state_dict(), times, noise, merge=merge)
    new = ArkForConditionalGeneration(config).eval()
    new.load_state_dict(weights)
    token_ids, mels = batch()
    slots = token_ids == config.audio_token_id
    slots[:, 3 + config.audio_slots(50) :] = False
    token_ids[(token_ids == config.audio_token_id) & ~slots] = 97
    with torch.no_grad():
        expected = old(token_ids, mels)
        assert expected.std() > 0.5  # the geometry says something
        torch.testing.assert_close(new(token_ids, mels), expected, atol=2e-4, rtol=1e-3)
    written = ArkForConditionalGeneration.load(tmp_path / "new").state_dict()
    assert all(torch.equal(w, weights[n].bfloat16().float()) for n, w in written.items())


def test_copies_learn_different_things(tmp_path):
    checkpoints.write_checkpoint(tmp_path / "old")
    grow_checkpoint(tmp_path / "old", tmp_path / "new")
    model = ArkForConditionalGeneration.load(tmp_path / "new")
    token_ids, mels = batch()
    model(token_ids, mels).log_softmax(-1)[..., 100].sum().backward()
    for name, weight in model.named_parameters():
        if "embed_positions" in name:  # not used by rotary models
            continue
        if name in ("model.norm.weight", "model.layers.1.mlp.down_proj.weight"):
            continue  # only the head reads these, whose copies differ after the first update
        halves = weight.grad.chunk(2, 1 if "embed_tokens" in name else 0)
        apart = (halves[0] - halves[1]).norm() / weight.grad.norm()
        assert apart > 0.05, name


def test_ark_mini_grown_hears_the_same(root, tmp_path):
    out = tmp_path / "teacher"
    command = ["train", "grow", str(root / "checkpoints" / "ark-mini"), "-o", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "22.0 M parameters" in result.stderr
    with ark_asr.load(out, engine="torch") as model:
        for name in ("hello", "numbers"):
            sound = root / "samples" / f"{name}.flac"
            heard = model.transcribe(sound).text
            assert plain(heard) == plain(sound.with_suffix(".txt").read_text(encoding="utf-8"))
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_other_files_are_taken_along_and_other_keys_stay(tmp_path):
    checkpoints.write_checkpoint(tmp_path / "old")
    path = tmp_path / "old" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "said_by": "the publisher"}))
    grow_checkpoint(tmp_path / "old", tmp_path / "deep" / "new")
    assert json.loads((tmp_path / "deep" / "new" / "config.json").read_text())["said_by"]
    assert (tmp_path / "deep" / "new" / "tokenizer.json").is_file()
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["new"]


@pytest.mark.parametrize("times", [1, 0, -2, 9])
def test_what_cannot_be(tmp_path, times):
    checkpoints.write_checkpoint(tmp_path / "old")
    with pytest.raises(OptionError, match=f"2 to 8 times as wide, not {times}"):
        grow_checkpoint(tmp_path / "old", tmp_path / "new", times=times)
    with pytest.raises(ModelNotFoundError):
        grow_checkpoint(tmp_path / "none", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]

"""The supervised recipe: exact arithmetic, exact resume, and a model that learns."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig
from ark_asr.training import checkpoint, supervised
from ark_asr.training.config import OptimConfig, TrainConfig
from ark_asr.training.journal import read_log
from ark_asr.training.optim import optimisers, rate_factor
from ark_asr.training.validate import plain, score
from tones import logged, recipe, write_material


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_material(tmp_path_factory.mktemp("material"))


def weights(folder):
    return checkpoint.load_state(folder)["model"]


def test_a_run_that_goes_on_equals_one_that_never_stopped(material, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    supervised.main(recipe(material, whole, steps=8, save_every=4, eval_every=50))
    # The same recipe, stopped after its checkpoint at update 4 as a kill would stop it.
    supervised.main(recipe(material, parts, steps=8, save_every=4, eval_every=50))
    shutil.rmtree(parts / "step-0000008")
    supervised.main(tmp_path / "parts.toml", resume=True)
    one, two = weights(whole / "step-0000008"), weights(parts / "step-0000008")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    assert logged(whole) == logged(parts)


def test_a_folder_with_checkpoints_is_not_overwritten(material, tmp_path):
    path = recipe(material, tmp_path / "run", steps=2, save_every=2)
    supervised.main(path)
    with pytest.raises(OptionError, match="--resume"):
        supervised.main(path)


def test_how_an_update_is_cut_into_batches_does_not_change_it(material, tmp_path):
    config = TrainConfig.load(recipe(material, tmp_path / "run", steps=4, accumulate=2))
    run = supervised.prepare(config, resume=False, skip_bad=False)
    first, second = (run.batches[i] for i in range(2))

    def gradients(portions):
        run.model.zero_grad()
        for batch in portions:
            sum(supervised.losses(run, batch)).backward()
        return [p.grad.clone() for p in run.model.parameters() if p.grad is not None]

    rows = [i for _, batch in run.batches.order[:2] for i in batch]
    run.batches.order = [(0, rows)]
    both = run.batches[0]
    for apart, together in zip(gradients([first, second]), gradients([both]), strict=True):
        torch.testing.assert_close(apart, together, atol=2e-4, rtol=1e-3)


def test_it_learns_to_hear_tones(material, tmp_path):
    path = recipe(material, tmp_path / "run", steps=250, eval_every=250, save_every=250, dev=True,
                  rate=5e-3)  # fmt: skip
    best = supervised.main(path)
    rows = read_log(tmp_path / "run" / "log.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.35 * losses[0]
    assert rows[-1]["wer/train"] < 0.6
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5_000
    assert ArkForConditionalGeneration.load(best).config.decoder.layers == 1
    saved = json.loads((best / checkpoint.RECIPE_FILE).read_text())
    assert saved["optim"]["clip"] == OptimConfig().clip  # defaults are written out
    assert "base" not in saved
    assert not (best / checkpoint.STATE_FILE).exists()


def test_a_missing_recording_stops_the_run_with_its_name(material, tmp_path):
    manifest = material / "train.jsonl"
    bad = material / "bad.jsonl"
    lines = manifest.read_text().splitlines()
    lost = json.dumps({"audio": "lost.flac", "text": "a", "duration": 0.4})
    bad.write_text("\n".join([*lines, lost]))
    path = recipe(material, tmp_path / "run", steps=30, save_every=30, eval_every=50)
    path.write_text(path.read_text().replace("train.jsonl", "bad.jsonl"))
    with pytest.raises(OptionError, match=r"cannot train on .*lost\.flac"):
        supervised.main(path)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    config = TrainConfig.load(path)
    run = supervised.prepare(config, resume=False, skip_bad=True)
    supervised.train(run, None)
    assert run.step == 30
    assert any("lost.flac" in line for line in run.skipped)


def test_learning_rate():
    config = OptimConfig(steps=100, warmup=10, decay=0.5, floor=0.1)
    factors = [rate_factor(step, config) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:51] == [1.0] * 42
    assert factors[75] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_every_parameter_moves_by_exactly_one_optimiser(byte_checkpoint):
    config = ModelConfig.load(byte_checkpoint)
    for tied in (True, False):
        decoder = dataclasses.replace(config.decoder, tied_head=tied)
        model = ArkForConditionalGeneration(dataclasses.replace(config, decoder=decoder))
        ctc = torch.nn.Linear(4, 4)
        moved = [
            id(p)
            for optimiser in optimisers(model, ctc, OptimConfig())
            for group in optimiser.param_groups
            for p in group["params"]
        ]
        assert len(moved) == len(set(moved))
        assert set(moved) == {id(p) for p in [*model.parameters(), *ctc.parameters()]}


def test_word_errors_are_summed_over_the_corpus():
    found = score(["a b c d", "Don\u2019t!", ""], ["a x c", "don't", "noise here"])
    assert (found.errors, found.words, found.clips) == (4, 5, 3)
    assert found.wer == pytest.approx(0.8)
    assert plain("Don\u2019t  stop,  A1!") == "don't stop a1"

"""Several processes, sharding, and runs that die: all end with the weights of a plain run."""

from __future__ import annotations

import random

import pytest
import torch
from safetensors.torch import load_file

import checkpoints
import processes
import tones
from ark_asr.training import checkpoint
from ark_asr.training.order import deal

STEPS = 6


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tones.write_material(tmp_path_factory.mktemp("material"))
    geometry = {"encoder_layers": 1, "layers": 1, "max_positions": 256}
    checkpoints.write_checkpoint(folder / "weights", dtype="BF16", scale=0.05, **geometry)
    return folder


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """Output folder of an uninterrupted run, made once for each kind of run."""
    made = {}

    def get(size, **values):
        key = (size, *sorted(values.items()))
        if key not in made:
            output = tmp_path_factory.mktemp("whole") / "run"
            recipe = tones.recipe(material, output, steps=STEPS, save_every=2, **values)
            assert processes.train(recipe, size) == [0] * size
            made[key] = output
        return made[key]

    return get


def published(output):
    return load_file(output / f"step-{STEPS:07d}" / "model.safetensors")


def exact(output):
    return checkpoint.load_state(output / f"step-{STEPS:07d}")["model"]


@pytest.mark.parametrize("size", [1, 2])
def test_a_run_that_is_killed_anywhere_ends_like_one_that_was_not(
    material, tmp_path, finished, size
):
    whole = finished(size, ema=0.9)
    output = tmp_path / "run"
    recipe = tones.recipe(material, output, steps=STEPS, save_every=2, ema=0.9)
    rng = random.Random(size)
    first, second = rng.randrange(3), rng.randrange(3, STEPS)
    assert -9 in processes.train(recipe, size, die_at=first)
    assert -9 in processes.train(recipe, size, resume=True, die_at=second, die_saving=True)
    assert processes.train(recipe, size, resume=True) == [0] * size
    one, two = exact(whole), exact(output)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert tones.logged(whole) == tones.logged(output)


def close(one, two):
    """Weights that a few updates of this size have made the same but for rounding."""
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-3, rtol=2e-2, msg=name)


def same_course(one, two):
    """Losses and gradients of two runs are equal but for rounding."""
    rows = list(zip(tones.logged(one), tones.logged(two), strict=True))
    assert len(rows) == STEPS // 2
    for row, other in rows:
        for name in ("loss", "ctc_bytes", "ctc_tokens", "grad_norm"):
            assert row[name] == pytest.approx(other[name], rel=2e-4), (name, row["step"])


def test_two_processes_do_what_one_does(finished):
    values = {"method": "'adamw'", "rate": 1e-3}
    one, two = finished(1, accumulate=2, **values), finished(2, **values)
    close(exact(one), exact(two))
    same_course(one, two)


def test_sharded_weights_move_like_whole_ones(finished):
    values = {"method": "'adamw'", "rate": 1e-3}
    whole = finished(1, accumulate=2, **values)
    sharded = finished(2, shard="true", recompute="true", **values)
    close(published(whole), published(sharded))
    same_course(whole, sharded)
    assert len(list((sharded / "step-0000006" / "training_shards").glob("*.distcp"))) == 2


def test_sharded_corrections_are_merged_like_whole_ones(material, finished):
    values = {"start": f"'{material / 'weights'}'", "method": "'adamw'", "rate": 1e-3, "rank": 2}
    values |= {"ctc_weight": 0, "ctc_final": 0, "ema": 0.5, "dev": True}
    whole, sharded = finished(1, accumulate=2, **values), finished(2, shard="true", **values)
    close(published(whole), published(sharded))
    assert tones.logged(sharded)[-1]["wer/train"] == pytest.approx(1.0, abs=0.2)
    assert (sharded / "best" / "model.safetensors").exists()


@pytest.mark.parametrize("shard", ["false", "true"])
def test_another_number_of_processes_goes_on(material, tmp_path, finished, shard):
    values = {"method": "'adamw'", "rate": 1e-3, "shard": shard}
    output = tmp_path / "run"
    recipe = tones.recipe(material, output, steps=STEPS, save_every=2, **values)
    assert -9 in processes.train(recipe, 2, die_at=3)
    recipe = tones.recipe(material, output, steps=STEPS, save_every=2, accumulate=2, **values)
    assert processes.train(recipe, 1, resume=True) == [0]
    said = (tmp_path / "run.toml.0.out").read_text()
    assert "goes on with 1 processes instead of 2: an update is 2 batches instead of 2" in said
    whole = finished(1, accumulate=2, method="'adamw'", rate=1e-3)
    close(published(whole), published(output))
    same_course(whole, output)


def test_work_is_dealt_evenly():
    hands = deal([9.0, 1.0, 8.0, 2.0, 7.0, 3.0], 2)
    assert sorted(i for hand in hands for i in hand) == list(range(6))
    assert [len(hand) for hand in hands] == [3, 3]
    costs = [sum([9.0, 1.0, 8.0, 2.0, 7.0, 3.0][i] for i in hand) for hand in hands]
    assert max(costs) - min(costs) <= 2.0

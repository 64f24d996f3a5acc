"""Training only a part: LoRA, frozen parts; averages of weights; what stops a run."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import checkpoints
import tones
from ark_asr.errors import OptionError, TrainingError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig
from ark_asr.training import checkpoint, lora, supervised
from ark_asr.training.average import MovingAverage, average_checkpoints
from ark_asr.training.config import AdaptConfig, TrainConfig
from ark_asr.training.guard import Guard
from ark_asr.training.overrides import Overrides
from ark_asr.training.validate import score


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Tones, and a start folder that has weights."""
    folder = tones.write_material(tmp_path_factory.mktemp("material"))
    geometry = {"encoder_layers": 1, "layers": 1, "max_positions": 256}
    checkpoints.write_checkpoint(folder / "weights", dtype="BF16", scale=0.05, **geometry)
    return folder


def adapt(material, output, *, steps=6, **values):
    values = {"start": f"'{material / 'weights'}'", "ctc_weight": 0, "ctc_final": 0, **values}
    return tones.recipe(material, output, steps=steps, save_every=steps, rate=3e-3, **values)


def begin(recipe):
    return supervised.prepare(TrainConfig.load(recipe), resume=False, skip_bad=False)


def test_corrections_begin_as_nothing_and_become_part_of_the_weights(material, tmp_path):
    path = adapt(material, tmp_path / "run", rank=4, freeze='["encoder"]', accumulate=2)
    run = begin(path)
    batch = run.batches[0]
    model = ArkForConditionalGeneration.load(material / "weights")
    before = model(batch.token_ids, batch.mels, batch.frames)
    torch.testing.assert_close(run.model(batch.token_ids, batch.mels, batch.frames), before)
    names = {n for n, p in run.model.named_parameters() if p.requires_grad}
    assert names
    assert all("lora_" in name and "whisper" not in name for name in names)
    assert any("adapting.0" in name for name in names)

    supervised.main(path)
    folder = tmp_path / "run" / "step-0000006"
    merged = ArkForConditionalGeneration.load(folder)  # a plain checkpoint, by names and shapes
    start = model.state_dict()
    changed = {n for n, w in merged.state_dict().items() if not torch.equal(w, start[n])}
    assert changed == {name.rpartition(".")[0] + ".weight" for name in names}
    state = checkpoint.load_state(folder)
    assert set(state["model"]) == names
    run.model.load_state_dict(state["model"], strict=False)
    with torch.no_grad():
        live = run.model(batch.token_ids, batch.mels, batch.frames)
        written = merged(batch.token_ids, batch.mels, batch.frames)
    assert not torch.allclose(live, before, atol=1e-2)
    torch.testing.assert_close(live, written, atol=2e-2, rtol=2e-2)  # written as bfloat16


def test_merging_is_exact_in_float32():
    torch.manual_seed(0)
    layer = nn.Linear(8, 6)
    wrapped = lora.LoraLinear(layer, 2, 5.0)
    nn.init.normal_(wrapped.lora_down)
    nn.init.normal_(wrapped.lora_up)
    x = torch.randn(3, 8)
    weights = lora.merged(wrapped.state_dict(prefix="a."), AdaptConfig(rank=2, alpha=10.0))
    assert weights.keys() == {"a.weight", "a.bias"}
    found = nn.functional.linear(x, weights["a.weight"], weights["a.bias"])
    torch.testing.assert_close(found, wrapped(x))


def test_frozen_parts_stay_as_they_are(material, tmp_path):
    supervised.main(adapt(material, tmp_path / "run", freeze='["encoder", "adapter"]', steps=2))
    start = ArkForConditionalGeneration.load(material / "weights").state_dict()
    after = ArkForConditionalGeneration.load(tmp_path / "run" / "step-0000002").state_dict()
    moved = {lora.part_of(name) for name in start if not torch.equal(start[name], after[name])}
    assert moved == {"decoder"}


def test_packed_weights_learn_and_go_on_exactly(material, tmp_path):
    """Mixed precision with LoRA holds frozen matrices as bfloat16, scoring included."""
    outputs = []
    for name in ("whole", "parts"):
        path = adapt(material, tmp_path / name, rank=2, dev=True, steps=4, ema=0.5)
        path.write_text(path.read_text().replace("fp32", "bf16"))
        outputs.append(tmp_path / name)
        if name == "parts":
            run = begin(path)
            weight = run.model.model.layers[0].mlp.up_proj.weight
            assert weight.dtype == torch.bfloat16
            run.config = TrainConfig.load(path)
            for portion in supervised.portions(run):
                supervised.set_rates(run.optimisers, run.step, run.config.optim)
                supervised.update(run, portion)
                run.step += 1
                if run.step == 2:
                    break
            supervised.save(run)
        supervised.main(path, resume=name == "parts")
    one, two = (checkpoint.load_state(o / "step-0000004")["model"] for o in outputs)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_moving_average_is_what_it_says_and_leaves_no_trace():
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    average = MovingAverage(layer, 0.9)
    expected = 0.0
    for n in range(1, 40):
        with torch.no_grad():
            layer.weight.fill_(float(n))
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    with average.in_place():
        assert layer.weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight[0, 0].item() == 39.0
    assert MovingAverage(layer, 0.0).values == {}


def test_average_of_checkpoints(tmp_path):
    folders = [tmp_path / f"m{seed}" for seed in range(3)]
    for seed, folder in enumerate(folders):
        checkpoints.write_checkpoint(folder, seed=seed, encoder_layers=1, layers=1)
    folders.append(folders[0])  # counts twice
    average_checkpoints(folders, tmp_path / "mean")
    states = [ArkForConditionalGeneration.load(folder).state_dict() for folder in folders]
    for name, weight in ArkForConditionalGeneration.load(tmp_path / "mean").state_dict().items():
        mean = sum(state[name] for state in states) / 4
        torch.testing.assert_close(weight, mean.bfloat16().float())
    with pytest.raises(OptionError, match="exists"):
        average_checkpoints(folders, tmp_path / "mean")
    with pytest.raises(OptionError, match="two checkpoints"):
        average_checkpoints(folders[:1], tmp_path / "one")
    checkpoints.write_checkpoint(tmp_path / "other", encoder_layers=1, layers=2)
    with pytest.raises(OptionError, match="another form"):
        average_checkpoints([folders[0], tmp_path / "other"], tmp_path / "two")


def test_the_guard_objects_and_gives_up():
    guard = Guard(10.0, 3)
    assert guard.objection(1e9, 1) is None  # nothing is usual yet
    guard = Guard(10.0, 3)
    assert [guard.objection(1.0 + 0.01 * n, 1) for n in range(20)] == [None] * 20
    assert "usually 1." in (guard.objection(50.0, 1) or "")
    assert guard.objection(0.0, 0) == "there was nothing to learn from"
    assert 0.0 not in guard.norms  # or soon the usual one were called too large
    assert guard.objection(9.0, 1) is None
    assert guard.objection(math.nan, 1) == "the gradient is not finite"
    again = Guard(10.0, 3, **guard.state())
    assert again.objection(math.inf, 1)
    with pytest.raises(TrainingError, match="3 updates in a row"):
        again.objection(50.0, 1)
    assert Guard(0.0, 3, norms=[1.0] * 50).objection(1e9, 1) is None


def test_a_gradient_that_is_not_finite_changes_nothing(material, tmp_path, capsys):
    run = begin(adapt(material, tmp_path / "run", give_up=2))
    batch = run.batches[0]
    batch.mels[:] = math.nan
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    supervised.update(run, [batch])
    assert "the gradient is not finite; the weights stay" in capsys.readouterr().out
    assert all(torch.equal(w, before[n]) for n, w in run.model.state_dict().items())
    with pytest.raises(TrainingError, match="2 updates in a row"):
        supervised.update(run, [batch])


def test_an_update_without_anything_to_learn_from_moves_nothing(material, tmp_path, capsys):
    run = begin(adapt(material, tmp_path / "run"))
    supervised.update(run, [run.batches[0]])  # from here on there is momentum
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    supervised.update(run, [])
    assert "there was nothing to learn from; the weights stay" in capsys.readouterr().out
    assert all(torch.equal(w, before[n]) for n, w in run.model.state_dict().items())


def test_a_run_that_hears_nothing_ends_and_says_what_it_left_out(material, tmp_path, capsys):
    rows = [json.loads(line) for line in (material / "train.jsonl").read_text().splitlines()]
    gone = tmp_path / "gone.jsonl"
    gone.write_text("\n".join(json.dumps({**row, "audio": "gone.wav"}) for row in rows))
    path = adapt(material, tmp_path / "run", steps=50, give_up=3)
    with pytest.raises(TrainingError, match=r"3 updates in a row .* nothing to learn from"):
        supervised.main(path, skip_bad=True, overrides=Overrides(train=(gone,)))
    said = capsys.readouterr().out.splitlines()
    lines = [line for line in said if line.startswith("skipped: ") and "gone.wav" in line]
    assert len(lines) == len(set(lines)) > 0
    assert not list((tmp_path / "run").glob("step-*"))


def test_a_run_that_gets_no_better_ends(material, tmp_path, capsys):
    path = adapt(material, tmp_path / "run", steps=50, eval_every=1, early_stop=2, dev=True)
    path.write_text(path.read_text().replace("3e-03", "0.0").replace("0.003", "0.0"))
    supervised.main(path)
    said = capsys.readouterr().out
    assert "no better for 2 evaluations" in said
    assert checkpoint.numbered(tmp_path / "run")[-1].name == "step-0000003"
    supervised.main(path, resume=True)  # it has ended, and stays so
    assert checkpoint.numbered(tmp_path / "run")[-1].name == "step-0000003"


def test_lora_needs_weights(material, tmp_path):
    with pytest.raises(OptionError, match="has no weights"):
        begin(adapt(material, tmp_path / "run", rank=2, start=f"'{material / 'start'}'"))


def test_corrections_of_no_layer_are_refused(material):
    model = ArkForConditionalGeneration(ModelConfig.load(material / "weights"))
    with pytest.raises(OptionError, match="names no layer"):
        lora.choose(model, AdaptConfig(rank=2, layers=("qproj",)), 1)


def test_corrections_of_a_higher_rank_than_any_layer_are_refused(material):
    model = ArkForConditionalGeneration(ModelConfig.load(material / "weights"))
    with pytest.raises(OptionError, match=r"rank is 100000; these layers have at most \d+$"):
        lora.choose(model, AdaptConfig(rank=100_000), 1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"freeze": '["ears"]'}, "'encoder', 'adapter', 'decoder'"),
        ({"freeze": '["encoder", "adapter", "decoder"]'}, "has all"),
        ({"ema": 1.0}, "ema"),
        ({"method": "'sgd'"}, "muon or adamw"),
        ({"early_stop": 2}, "needs manifests"),
        ({"rank": -1}, "0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(material, tmp_path, values, says):
    with pytest.raises(OptionError, match=says):
        TrainConfig.load(adapt(material, tmp_path / "run", **values))


def test_a_score_knows_how_sure_it_is():
    found = score(["a b c d"] * 30, ["a b c d"] * 15 + ["a x c d"] * 15)
    assert found.wer == pytest.approx(0.125)
    assert found.interval is not None
    assert 0.05 < found.interval.low < 0.125 < found.interval.high < 0.2

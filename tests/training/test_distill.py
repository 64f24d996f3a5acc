"""Distillation: what the student writes, what moves it, exact arithmetic, exact resume."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import checkpoints
import processes
import tiny_teachers
import tones
from ark_asr.cli import app
from ark_asr.decoding.rules import SearchState
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training import checkpoint, distill
from ark_asr.training.config import DataConfig
from ark_asr.training.distill_config import DistillConfig
from ark_asr.training.journal import read_log
from ark_asr.training.rollout import Sample, roll_out
from ark_asr.training.run import prepare
from ark_asr.training.tally import Tally
from ports import free_port

SERVER = "kind = 'server'\nmodel = 'm'\nurl = 'u'\ntokenizer = 't'"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Tones, a student and a teacher of random weights."""
    folder = tones.write_material(tmp_path_factory.mktemp("material"))
    geometry = {"encoder_layers": 1, "layers": 1, "max_positions": 256}
    checkpoints.write_checkpoint(folder / "student", seed=1, **geometry)
    checkpoints.write_checkpoint(folder / "teacher", seed=2, **geometry)
    return folder


def recipe(material, output, *, start="", teacher="", lesson="", steps=4, more="", **values):
    start = f"'{start or material / 'student'}'"
    path = tones.recipe(material, output, steps=steps, start=start, **values)
    teacher = teacher or f"model = '{material / 'teacher'}'"
    tables = f"\n[teacher]\n{teacher}\n[distill]\nmax_new_tokens = 6\n{lesson}\n{more}\n"
    path.write_text(path.read_text() + tables)
    return path


def lesson_of(path):
    config = DistillConfig.load(path)
    run = prepare(config, resume=False, skip_bad=False, distil=True)
    return run, distill.lesson_of(run, config)


def gradients(run, lesson, batches, *, mean=False):
    run.model.zero_grad()
    weight = 0.0
    for batch in batches:
        loss, tally = distill.losses(run, lesson, batch)
        loss.backward()
        weight += tally.weight
    grads = {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}
    return {name: grad / weight for name, grad in grads.items()}


def test_a_student_that_is_its_teacher_has_nothing_to_learn(material, tmp_path):
    same = f"model = '{material / 'student'}'"
    still = "[augment]\nfreq_masks = 0\ntime_masks = 0\nspeed = 0.0\ngain_db = 0.0\nnoise = 0.0"
    for lesson in (
        "",
        "top_k = 0\ndivergence = 'reverse'",
        "on_policy = 0.0\nteacher_forced = 1.0",
    ):
        path = recipe(material, tmp_path / "run", teacher=same, lesson=lesson, more=still)
        run, taught = lesson_of(path)
        loss, tally = distill.losses(run, taught, run.batches[0])
        assert tally.compared == tally.places > 0
        assert tally.agreed == tally.compared
        assert abs(float(loss.detach())) < 1e-4 * tally.compared
        loss.backward()
        grads = [p.grad.abs().max() for p in run.model.parameters() if p.grad is not None]
        assert max(grads) < 1e-3


def test_thirds_are_shares(material, tmp_path):
    thirds = "\n".join(f"{name} = 0.3333333" for name in ("on_policy", "teacher_forced", "static"))
    run, lesson = lesson_of(recipe(material, tmp_path / "run", lesson=thirds))
    with torch.no_grad():
        assert distill.losses(run, lesson, run.batches[0])[1].weight > 0


def test_the_teacher_is_asked_about_what_the_student_wrote(material, tmp_path, monkeypatch):
    run, lesson = lesson_of(recipe(material, tmp_path / "run"))
    batch = run.batches[0]
    asked = []
    score = lesson.teacher.score
    monkeypatch.setattr(
        type(lesson.teacher), "score",
        lambda _self, sounds, texts: (asked.append((sounds, texts)), score(sounds, texts))[1],
    )  # fmt: skip
    _, tally = distill.losses(run, lesson, batch)
    ((sounds, texts),) = asked
    assert all(a is b for a, b in zip(sounds, batch.sounds, strict=True))
    with torch.no_grad():
        audio = run.model.embed_audio(batch.mels, batch.frames)
    slots = [run.model.config.audio_slots(int(n)) for n in batch.frames]
    written = roll_out(run.model, run.tokenizer, audio, slots, max_new_tokens=6)
    assert [list(w.token_ids) for w in written] == texts
    assert tally.places == sum(len(text) + 1 for text in texts)
    assert tally.ended == sum(w.stop == "end" for w in written)
    # What was recorded, not what the student hears of it.
    assert run.batches.rows[run.batches.order[0][1][0]].augment


def test_rollouts_obey_the_mask_and_chance_its_seed(material):
    tokenizer = Tokenizer.load(material / "student")
    engine = TorchEngine.load(material / "student")
    rng = np.random.default_rng
    audio = torch.randn(4, 5, 64, generator=torch.Generator().manual_seed(0))

    def drawn(seed):
        found = roll_out(
            engine.model, tokenizer, audio, [5, 5, 3, 2],
            temperature=3.0, max_new_tokens=20, rng=rng(seed),
        )  # fmt: skip
        return [hypothesis.token_ids for hypothesis in found]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert not set(sum(drawn(1), ())) & set(tokenizer.suppressed_ids.tolist())
    greedy = roll_out(engine.model, tokenizer, audio, [5, 5, 3, 2])
    assert [len(g.token_ids) <= n + 8 for g, n in zip(greedy, (5, 5, 3, 2), strict=True)]


def test_noise_and_the_largest_are_a_draw_from_the_softmax():
    logits = np.log(np.array([0.5, 0.3, 0.2, 1e-30], np.float32))
    logits[3] = -np.inf
    rule = Sample(2.0, np.random.default_rng(0))
    rows = np.tile(logits, (20_000, 1))
    rule.apply(rows, SearchState(np.arange(4), [], []))
    share = np.bincount(rows.argmax(1), minlength=4) / len(rows)
    tempered = np.sqrt([0.5, 0.3, 0.2, 0.0])
    np.testing.assert_allclose(share, tempered / tempered.sum(), atol=0.015)


@pytest.mark.parametrize(
    "lesson", ["", "sample = 1.0\non_policy = 0.6\nteacher_forced = 0.2\nstatic = 0.2"]
)
def test_how_an_update_is_cut_does_not_change_it(material, tmp_path, lesson):
    """Batches of one process, of two, or one batch: the mean is over places, wherever they are."""
    run, taught = lesson_of(recipe(material, tmp_path / "run", lesson=lesson, accumulate=2))
    first, second = run.batches[0], run.batches[1]
    assert len(first.texts) != len(second.texts) or first.frames.sum() != second.frames.sum()
    apart = gradients(run, taught, [first, second])
    swapped = gradients(run, taught, [second, first])
    for name in apart:
        torch.testing.assert_close(apart[name], swapped[name], atol=1e-6, rtol=1e-4)
    if lesson:
        return  # chance belongs to a batch: cutting anew draws anew
    run.batches.order = [(0, [i for _, batch in run.batches.order[:2] for i in batch])]
    together = gradients(run, taught, [run.batches[0]])
    for name in apart:
        torch.testing.assert_close(apart[name], together[name], atol=2e-4, rtol=2e-3)


def test_the_published_mean_is_one_of_means(material, tmp_path):
    """Fault (c): a batch counts as one, however many places it has."""
    lesson = "arithmetic = 'published'\ntop_k = 4"
    run, taught = lesson_of(recipe(material, tmp_path / "run", lesson=lesson))
    one, two = (distill.losses(run, taught, run.batches[i]) for i in range(2))
    assert one[1].weight == two[1].weight == 1
    assert one[1].compared != two[1].compared
    assert float(one[0].detach()) == pytest.approx(one[1].divergence / one[1].compared, rel=1e-4)


def test_a_run_that_goes_on_equals_one_that_never_stopped(material, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    lesson = "sample = 0.7\non_policy = 0.5\nteacher_forced = 0.25\nstatic = 0.25"
    options = {"steps": 4, "save_every": 2, "eval_every": 50, "lesson": lesson}
    distill.main(recipe(material, whole, **options))
    path = recipe(material, parts, **options)
    distill.main(path)
    shutil.rmtree(parts / "step-0000004")
    distill.main(path, resume=True)
    one, two = (checkpoint.load_state(f / "step-0000004")["model"] for f in (whole, parts))
    for name in one:
        assert torch.equal(one[name], two[name]), name
    assert tones.logged(whole) == tones.logged(parts)
    assert all(0 <= row["waiting"] <= 1 for row in read_log(whole / "log.jsonl"))


def _train(recipe_path, rank, port):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank),
        WORLD_SIZE="2", GLOO_SOCKET_IFNAME="lo",
    )  # fmt: skip
    distill.main(recipe_path)


def test_two_processes_do_what_one_does(material, tmp_path):
    options = {"steps": 2, "save_every": 2, "eval_every": 50}
    alone = recipe(material, tmp_path / "alone", accumulate=2, **options)
    both = recipe(material, tmp_path / "both", **options)
    distill.main(alone)
    port = free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ark_asr.training.distill"])
    started = [context.Process(target=_train, args=(both, rank, port)) for rank in range(2)]
    with processes.ended(started):
        for process in started:
            process.join(processes.PATIENCE)
            assert process.exitcode == 0
    one, two = (
        checkpoint.load_state(tmp_path / name / "step-0000002")["model"]
        for name in ("alone", "both")
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-3)
    counted = [read_log(tmp_path / name / "log.jsonl")[0] for name in ("alone", "both")]
    for name in ("loss", "vuss", "rollout_tokens", "rollout_wer"):
        assert counted[0][name] == pytest.approx(counted[1][name], rel=1e-4)


def test_a_student_comes_nearer_to_its_teacher(material, tmp_path):
    """From its own texts alone: the teacher's weights, disturbed, find back to what it says."""
    start = tmp_path / "start"
    shutil.copytree(material / "teacher", start)
    config = ModelConfig.load(start)
    tensors = checkpoints.random_weights(config, seed=2)
    noise = checkpoints.random_weights(config, seed=3)
    weights = {name: tensor + 0.1 * noise[name] for name, tensor in tensors.items()}
    checkpoints.write_safetensors(start / "model.safetensors", weights)
    path = recipe(
        material, tmp_path / "run", start=start, steps=24, rate=3e-3, save_every=24, eval_every=24,
        dev=True,
    )  # fmt: skip
    best = distill.main(path)
    rows = read_log(tmp_path / "run" / "log.jsonl")
    taught = [row for row in rows if "loss" in row]
    assert taught[-1]["loss"] < 0.5 * taught[0]["loss"]
    assert taught[-1]["agreement"] > taught[0]["agreement"]
    assert "wer/train" in rows[-1]
    saved = json.loads((best / checkpoint.RECIPE_FILE).read_text())
    assert saved["distill"]["top_k"] == 32
    assert saved["teacher"]["kind"] == "ark"
    assert saved["optim"]["ctc_weight"] == 0


def test_another_vocabulary(material, tmp_path):
    """A Whisper, which tokenises otherwise and begins with a space, teaches as well."""
    folder = tiny_teachers.write_whisper(tmp_path / "whisper")
    teacher = f"kind = 'whisper'\nmodel = '{folder}'\nlanguage = 'en'"
    lesson = "min_shared = 0.0"
    path = recipe(material, tmp_path / "run", teacher=teacher, lesson=lesson)
    run, taught = lesson_of(path)
    assert not taught.bridge.same
    run.batches.order = [(0, [0, 1, 2])]
    (batch,) = run.batches
    loss, tally = distill.losses(run, taught, batch)
    assert 0 < tally.compared <= tally.paired <= tally.places
    assert 0 < tally.share < tally.paired
    loss.backward()
    assert all(p.grad.isfinite().all() for p in run.model.parameters() if p.grad is not None)
    assert run.model.lm_head.weight.grad.abs().max() > 0

    # What it says in longer pieces is not lost with the first pieces of them.
    shares = {}
    for match in ("twins", "first-piece"):
        lesson = f"on_policy = 0.0\nteacher_forced = 1.0\nmatch = '{match}'"
        path = recipe(material, tmp_path / "run", teacher=f"{teacher}\nplain = true", lesson=lesson)
        _, other = lesson_of(path)
        assert other.teacher.vocabulary == taught.teacher.vocabulary.plain()
        _, found = distill.losses(run, dataclasses.replace(other, model=run.model), batch)
        assert found.paired > 0
        shares[match] = found.share / found.paired
    assert shares["first-piece"] > shares["twins"]


def test_a_silent_student_is_told_how_to_begin(material, tmp_path, monkeypatch):
    class Ends:
        def __init__(self, end):
            self.end = end

        def apply(self, logits, state):
            logits[:, self.end] = 1e9

    for empty, places in (("score", 1), ("reference", None)):
        path = recipe(material, tmp_path / empty, lesson=f"empty = '{empty}'")
        run, taught = lesson_of(path)
        sayable = np.setdiff1d(range(checkpoints.VOCABULARY), run.tokenizer.suppressed_ids)
        end = sayable.tolist().index(taught.bridge.end)
        monkeypatch.setattr(
            "ark_asr.training.rollout.SuppressIds", lambda *_args, end=end: Ends(end)
        )
        batch = run.batches[0]
        _, tally = distill.losses(run, taught, batch)
        assert tally.silent == tally.rollouts == len(batch.texts)
        expected = sum(places or len(text) + 1 for text in batch.texts)
        assert tally.places == expected


def test_calibration_says_everything_and_changes_nothing(material, tmp_path):
    path = recipe(material, tmp_path / "run")
    result = CliRunner().invoke(app, ["train", "distill", str(path), "--calibrate", "2"])
    assert result.exit_code == 0, result.output
    for name in (*Tally().figures(), "vuss"):
        assert name in result.output
    assert not (tmp_path / "run").exists()
    refused = CliRunner().invoke(app, ["train", "distill", str(path), "--calibrate", "0"])
    assert refused.exit_code == 2


def test_a_run_that_has_ended_has_nothing_to_calibrate(material, tmp_path, monkeypatch):
    path = recipe(material, tmp_path / "run", steps=1)
    distill.main(path)
    with pytest.raises(OptionError, match=r"ended at update 1; .* or more optim.steps"):
        distill.calibrate(path, 2)
    monkeypatch.setattr(distill.Run, "stalled", True)
    with pytest.raises(OptionError, match=r"name another --output$"):
        distill.calibrate(path, 2)


def test_a_recipe_inherits_from_the_checkpoint_it_starts_from(material, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(material / "student", start)
    saved = {
        "precision": "fp32", "seed": 99, "augment": {"speed": 0.03, "gone": 1},
        "data": {"batch_seconds": 7.0, "max_seconds": 9.0, "dev": ["lost.jsonl"]},
        "optim": {"steps": 5},
    }  # fmt: skip
    (start / checkpoint.RECIPE_FILE).write_text(json.dumps(saved))
    path = tmp_path / "recipe.toml"
    path.write_text(
        "start = 'start'\noutput = 'out'\n[data]\nmax_seconds = 4.0\n"
        "[[data.train]]\nmanifest = 'm.jsonl'\n[teacher]\nmodel = 'teacher'\n"
    )
    config = DistillConfig.load(path)
    assert (config.precision, config.augment.speed) == ("fp32", 0.03)
    assert (config.data.batch_seconds, config.data.max_seconds) == (7.0, 4.0)
    assert (config.seed, config.data.dev) == (1, ())
    assert config.optim.steps != 5
    assert config.data.workers == DataConfig().workers


@pytest.mark.parametrize("name", ["optim", "data", "augment"])
def test_a_table_that_is_none_is_named(tmp_path, name):
    path = tmp_path / "recipe.toml"
    path.write_text(f"start = 's'\noutput = 'o'\n{name} = 3\n")
    with pytest.raises(OptionError, match=f"{name} must be a table"):
        DistillConfig.load(path)


@pytest.mark.parametrize(
    ("lesson", "says"),
    [
        ("on_policy = 0.5", "together 1"),
        ("on_policy = nan", "on_policy is nan, expected a finite number"),
        ("temperature = inf", "temperature is inf, expected a finite number"),
        ("divergence = 'sideways'", "one of forward"),
        ("temperature = 0.0", "temperature is more"),
        ("match = 'rhymes'", "one of twins"),
        ("arithmetic = 'published'\ntop_k = 0", "whole vocabulary"),
        ("arithmetic = 'published'\nrest = 'renormalise'", "no choice of rest"),
        ("top_q = 3", "unknown top_q"),
        ("[optim.x]", "unknown x"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(material, tmp_path, lesson, says):
    with pytest.raises(OptionError, match=says):
        DistillConfig.load(recipe(material, tmp_path / "run", lesson=lesson))


@pytest.mark.parametrize(
    ("teacher", "values", "says"),
    [
        ("", {"ctc_weight": 0.5}, "no CTC losses"),
        ("", {"shard": "true"}, "not sharded"),
        (SERVER, {"lesson": "temperature = 2.0"}, "temperature 1"),
        (SERVER, {"lesson": "arithmetic = 'published'"}, "teacher's logits"),
    ],
)  # fmt: skip
def test_parts_that_do_not_go_together(material, tmp_path, teacher, values, says):
    with pytest.raises(OptionError, match=says):
        DistillConfig.load(recipe(material, tmp_path / "run", teacher=teacher, **values))


def test_tallies_add_up():
    one = Tally(loss=2.0, weight=4.0, support=30.0, compared=3.0)
    two = Tally(loss=1.0, weight=2.0, support=40.0, compared=4.0)
    figures = (one + two).figures()
    assert figures["loss"] == 0.5
    assert figures["vuss"] == 10.0
    assert figures["rollout_wer"] == 0.0
    assert len(dataclasses.astuple(one)) == len(dataclasses.fields(Tally))

"""What a run refuses before it begins, and how it goes on after any end."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.summary.writer import event_file_writer
from typer.testing import CliRunner

import checkpoints
import tones
from ark_asr.cli import app
from ark_asr.errors import ModelFormatError, OptionError, TrainingError
from ark_asr.training import checkpoint, supervised
from ark_asr.training.config import TrainConfig
from ark_asr.training.continuing import refuse_changes, refuse_strangers
from ark_asr.training.dev import dev_sets
from ark_asr.training.journal import Journal
from ark_asr.training.ranks import Ranks
from ark_asr.training.rows import Row
from ark_asr.training.run import save


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return tones.write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """A run of two updates: its recipe."""
    folder = tmp_path_factory.mktemp("runs")
    path = tones.recipe(material, folder / "run", steps=2, save_every=2, ema=0.9)
    supervised.main(path)
    return path


def goes_on(path, old, new):
    text = path.read_text()
    assert old in text
    other = path.with_name("other.toml")
    other.write_text(text.replace(old, new))
    return supervised.prepare(TrainConfig.load(other), resume=True, skip_bad=False)


def test_rates_of_the_recipe_go_before_those_of_the_checkpoint(finished):
    run = goes_on(finished, "warmup = 4", "warmup = 4\nmatrix_rate = 1e-5\nother_rate = 2e-5")
    peaks = [group["peak"] for optimiser in run.optimisers for group in optimiser.param_groups]
    assert peaks == [1e-5, 2e-5]
    assert run.step == 2
    assert any(optimiser.state for optimiser in run.optimisers)  # what was learnt of them stays


def test_another_order_is_said(finished, material, capsys):
    for steps in (6, 1):  # also with fewer updates than there were
        goes_on(finished, "steps = 2", f"steps = {steps}")
        assert "another order" not in capsys.readouterr().out
    goes_on(finished, "batch_seconds = 4.0", "batch_seconds = 2.0")
    assert "goes on in another order than before" in capsys.readouterr().out
    rows = (material / "train.jsonl").read_text().splitlines()
    manifest = material / "more.jsonl"
    manifest.write_text("\n".join([*rows, rows[0]]))
    goes_on(finished, "train.jsonl", "more.jsonl")
    assert "goes on in another order than before" in capsys.readouterr().out
    manifest.write_text("\n".join(rows).replace('"text": "a', '"text": "b'))  # only corrected
    goes_on(finished, "train.jsonl", "more.jsonl")
    assert "another order" not in capsys.readouterr().out


def test_processes_for_data_where_nothing_can_be_forked(material, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "fork")  # as on Windows
    path = tones.recipe(material, tmp_path / "run", steps=2, workers=1)
    with pytest.raises(OptionError, match=r"data\.workers is 1, but .* set it to 0"):
        supervised.main(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("warmup = 4", "warmup = 4\nmethod = 'adamw'", "optim.method"),
        ("warmup = 4", "warmup = 4\nctc_weight = 0.0\nctc_final = 0.0", "optim.ctc_weight"),
        ("ema = 0.9", "ema = 0.0", "optim.ema"),
    ],
)
def test_a_run_does_not_go_on_as_another(finished, old, new, named):
    with pytest.raises(OptionError, match=f"step-0000002 was saved with another {named};"):
        goes_on(finished, old, new)


def test_a_run_does_not_go_on_from_another_model(finished, tmp_path):
    other = tmp_path / "start"
    other.mkdir()
    geometry = checkpoints.config_dict(encoder_layers=1, layers=1, ffn=96)
    (other / "config.json").write_text(json.dumps(geometry))
    checkpoints.write_tokenizer(other)
    start = next(line for line in finished.read_text().splitlines() if line.startswith("start"))
    with pytest.raises(OptionError, match=r"was not begun from .*size mismatch"):
        goes_on(finished, start, f"start = '{other}'")


@pytest.mark.parametrize("rank", [0, 2])
def test_corrections_do_not_go_on_with_other_weights(material, tmp_path, rank):
    """Without corrections all weights are in the checkpoint, and it does not matter."""
    for seed in range(2):
        checkpoints.write_checkpoint(
            tmp_path / f"start{seed}", seed=seed, dtype="BF16", scale=0.05, encoder_layers=1,
            layers=1, max_positions=256,
        )  # fmt: skip
    start = f"'{tmp_path / 'start0'}'"
    path = tones.recipe(material, tmp_path / "run", steps=2, rank=rank, start=start,
                        ctc_weight=0, ctc_final=0)  # fmt: skip
    save(supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False))
    assert goes_on(path, "start0", "start0").step == 0
    if not rank:
        assert goes_on(path, "start0", "start1").step == 0
        return
    with pytest.raises(OptionError, match=r"was not begun from .*start1 .*not trained are others"):
        goes_on(path, "start0", "start1")


@pytest.mark.parametrize(
    ("adapt", "named"),
    [
        ({"freeze": ["encoder"]}, "adapt.freeze"),
        ({"rank": 4, "alpha": 8.0}, "adapt.rank, adapt.alpha"),
        ({"alpha": 8.0}, None),  # without corrections it says nothing
    ],
)
def test_other_parts_are_not_trained_on(finished, tmp_path, adapt, named):
    config = TrainConfig.load(finished)
    table = {"adapt": {"freeze": [], "rank": 0, "alpha": 32.0, **adapt}}
    (tmp_path / checkpoint.RECIPE_FILE).write_text(json.dumps(table))
    if named is None:
        refuse_changes(config, tmp_path)
        return
    with pytest.raises(OptionError, match=f"saved with another {named};"):
        refuse_changes(config, tmp_path)


def test_a_damaged_state_is_named(tmp_path, finished):
    folder = tmp_path / "step-0000009"
    folder.mkdir()
    whole = finished.parent / "run" / "step-0000002" / checkpoint.STATE_FILE
    (folder / checkpoint.STATE_FILE).write_bytes(whole.read_bytes()[:5_000])
    with pytest.raises(ModelFormatError, match="delete step-0000009"):
        checkpoint.load_state(folder)


def test_a_full_disk_is_one_line_and_takes_no_room(finished, tmp_path, monkeypatch):
    config = TrainConfig.load(finished)
    run = goes_on(finished, "ema = 0.9", "ema = 0.9")

    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file\ndata/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"cannot be written \(.*data/3.*--resume") as caught:
        checkpoint.save(tmp_path / "step-0000004", run.model, config, {"step": 4})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_of_a_checkpoint_is_removed(material, tmp_path):
    output = tmp_path / "run"
    for name in ("step-0000001.partial", "best.partial", "notes.partial"):
        (output / name).mkdir(parents=True)
        (output / name / "model.safetensors").write_bytes(b"half")
    supervised.main(tones.recipe(material, output, steps=2, save_every=2), resume=True)
    assert {path.name for path in output.glob("*.partial")} == {"notes.partial"}


def test_the_best_survives_an_end_between_its_names(finished, tmp_path):
    config = TrainConfig.load(finished)
    run = goes_on(finished, "ema = 0.9", "ema = 0.9")
    best, old = tmp_path / "best", tmp_path / "best.old"
    checkpoint.save(best, run.model, config, None)
    best.rename(old)  # killed when the new one had no name yet
    checkpoint.begin(best)
    assert (best / "model.safetensors").is_file()
    assert not old.exists()
    old.mkdir()  # killed while the old one was deleted
    (old / "config.json").write_text("{}")
    checkpoint.begin(best)
    checkpoint.save(best, run.model, config, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best"]


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    if sys.platform == "win32":
        pytest.skip("no such locks")
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with other:
        assert other.stdout.readline() == b"locked\n"
        (tmp_path / "log.jsonl").write_text('{"step": 5}\n')
        with pytest.raises(OptionError, match="another run is writing there"):
            Journal(tmp_path, 0)
        assert (tmp_path / "log.jsonl").read_text() == '{"step": 5}\n'
        other.stdin.close()
        other.wait(30)
    Journal(tmp_path, 0).close()


def test_a_log_is_not_lost_on_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "log.jsonl").write_text('{"step": 5}\n')

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OptionError, match="No space left"):
        Journal(tmp_path, 9)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 5}\n'


def test_a_log_that_cannot_be_written_says_where_and_what_to_do(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path, 0)
    journal.write(1, {"loss": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(journal.board, "add_scalar", full)
        with pytest.raises(TrainingError, match=r"log cannot be written \(No space.*--resume"):
            journal.write(2, {"loss": 1.0})
    journal.path = tmp_path / "gone" / "log.jsonl"
    with pytest.raises(TrainingError, match="log cannot be written"):
        journal.write(3, {"loss": 1.0})
    board = journal.board.close
    monkeypatch.setattr(journal.board, "close", full)
    journal.close()  # what was said before is what counts
    assert "tensorboard: is not whole" in capsys.readouterr().out
    board()
    Journal(tmp_path, 1).close()  # it is not locked any more


def test_a_thread_of_tensorboard_prints_no_traceback_on_a_full_disk(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    journal = Journal(tmp_path, 0)
    monkeypatch.setattr(event_file_writer.RecordWriter, "write", full)

    def write_on():
        for step in range(1000):  # until the thread has come to it
            journal.write(step, {"loss": 1.0})

    with pytest.raises(TrainingError, match="log cannot be written"):
        write_on()
    journal.close()
    assert not told
    assert not capsys.readouterr().err
    thread = threading.Thread(target=full)  # of others all is told as before
    thread.start()
    thread.join()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("first", "says"),
    [([3.0, 1.0], "disk that all machines see"), ([2.0, 1.0], "the same on all machines")],
)
def test_processes_that_differ_do_not_share_updates(monkeypatch, first, says):
    monkeypatch.setattr(Ranks, "share", lambda *_: first)
    with pytest.raises(OptionError, match=says):
        refuse_strangers(Ranks(1, 2), 2, [Row("a.wav", "x", 0.0, None, 1.0)])


def dev(tmp_path, *names, rows=({"audio": "a.wav", "text": "x", "duration": 1},)):
    (tmp_path / "recipe.toml").write_text(
        f"start = 's'\noutput = 'o'\n[data]\ndev = {list(names)}\n[[data.train]]\nmanifest = 'm'"
    )
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)))
        (path.parent / "a.wav").touch()
    return dev_sets(TrainConfig.load(tmp_path / "recipe.toml"))


def test_dev_manifests_of_one_name_are_both_scored(tmp_path):
    assert [found.name for found in dev(tmp_path, "dev.jsonl")] == ["dev"]
    found = dev(tmp_path, "voice/dev.jsonl", "old/dev.jsonl", "test.jsonl")
    assert [it.name for it in found][:2] == ["voice/dev", "old/dev"]
    assert len({it.name for it in found}) == 3


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((), "no words to score"),
        (({"audio": "a.wav", "text": "", "duration": 1},), "no words to score"),
        (({"audio": "lost.wav", "text": "x", "duration": 1},), r"cannot score .*lost\.wav"),
    ],
)
def test_a_dev_manifest_is_looked_at_before_the_run(tmp_path, rows, says):
    with pytest.raises(OptionError, match=says):
        dev(tmp_path, "dev.jsonl", rows=rows)


def test_a_part_of_a_dev_manifest_is_of_all_of_it(tmp_path):
    """With 150 rows and a limit of 100 it was the first 100: two of three speakers."""
    rows = [{"audio": "a.wav", "text": f"x {n}", "duration": 1} for n in range(150)]
    (found,) = dev(tmp_path, "dev.jsonl", rows=rows)
    numbers = [int(row.text.split()[1]) for row in found.rows]
    assert len(set(numbers)) == 100
    assert [sum(50 * n <= number < 50 * n + 50 for number in numbers) for n in range(3)] in (
        [34, 33, 33], [33, 34, 33], [33, 33, 34],
    )  # fmt: skip


def test_without_dev_no_checkpoint_is_called_the_best(finished):
    result = CliRunner().invoke(app, ["train", "supervised", str(finished), "--resume"])
    assert result.exit_code == 0, result.output
    assert "the last checkpoint: " in result.output
    assert result.output.strip().endswith("step-0000002")


def test_clips_that_are_longer_than_a_model_hears_are_not_learnt(material, tmp_path):
    path = tones.recipe(material, tmp_path / "run", steps=2)
    path.write_text(path.read_text().replace("[data]", "[data]\nmax_seconds = 60.0"))
    with pytest.raises(OptionError, match="max_seconds is 60, but the model hears 30 s"):
        supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    path.write_text(path.read_text().replace("max_seconds = 60.0", "max_seconds = 0"))
    run = supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    assert run.config.data.max_seconds == 30.0


def test_of_a_model_no_more_is_trained_than_it_has(material, tmp_path, capsys):
    path = tones.recipe(material, tmp_path / "run", steps=2)  # with auxiliary losses
    supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    size, trained = re.findall(r"([0-9.]+) M", capsys.readouterr().out)
    assert size == trained


def test_weights_in_several_files_are_gone_on_from(tmp_path, material, capsys):
    """As larger models are published: they were drawn at random, as if there were none."""
    start = tmp_path / "start"
    checkpoints.write_checkpoint(start, encoder_layers=1, layers=1, max_positions=256)
    whole = load_file(start / "model.safetensors")
    (start / "model.safetensors").unlink()
    names = sorted(whole)
    for number in range(2):
        save_file({name: whole[name] for name in names[number::2]}, start / f"{number}.safetensors")
    places = {name: f"{i % 2}.safetensors" for i, name in enumerate(names)}
    (start / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    path = tones.recipe(material, tmp_path / "run", steps=2, start=f"'{start}'")
    run = supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    assert all(torch.equal(run.model.state_dict()[name], whole[name]) for name in names)
    assert "drawn at random" not in capsys.readouterr().out


def test_weights_are_drawn_aloud_and_never_for_a_package(tmp_path, material, capsys):
    path = tones.recipe(material, tmp_path / "run", steps=2)
    supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    assert "weights drawn at random" in capsys.readouterr().out
    package = tmp_path / "package"
    shutil.copytree(material / "start", package)
    (package / "decoder.onnx").write_bytes(b"")
    path = tones.recipe(material, tmp_path / "run", steps=2, start=f"'{package}'")
    with pytest.raises(OptionError, match=r"package is a package, which cannot be trained"):
        supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)


def test_what_is_not_there_is_said(tmp_path, material, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tones.recipe(material, tmp_path / "run", steps=2, device="'cuda'")
    with pytest.raises(OptionError, match="PyTorch finds no GPU here"):
        supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    (tmp_path / "file").write_text("mine")
    path = tones.recipe(material, tmp_path / "file", steps=2)
    with pytest.raises(OptionError, match=r"file: is no folder and cannot become one"):
        supervised.main(path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("start = ''\noutput = 'o'", "start is empty; say it with --start"),
        ("start = 's'\noutput = ''", "output is empty; say it with --output"),
        ("start = 's'\noutput = 'o'\n[data]\nworkers = -1", "data.workers must be 0 or more"),
        ("start = 's'\noutput = 'o'\n[optim]\nclip = 0.0", "optim.clip must be more than 0"),
        ("start = 's'\noutput = 'o'\n[optim]\nother_rate = nan", "other_rate is nan, expected"),
        ("start = 's'\noutput = 'o'\nseed = 9223372036854775808", r"seed must be less than 2\^63"),
        ("start = 's'\noutput = 'o'\n[augment]\nnoise_snr_db = [nan, 9.0]", "expected a finite"),
        ("start = 's'\noutput = 'o'\n[augment]\nnoise_snr_db = [9, 3]", "the lower ratio and"),
        ("start = 's'\noutput = 'o'\n[augment]\ngain_db = 1e6", "nor gain_db is beyond 100 dB"),
        ("start = 's'\noutput = 'o'\n[augment]\nspeed = 1.0", "augment.speed is less"),
        ("start = 's'\noutput = 'o'\nthreads = 100_000", "it must be 1 to 1024"),
        ("start = 's'\noutput = 'o'\nbase = '/'", "unknown base"),
    ],
)
def test_values_without_sense_are_refused(tmp_path, text, says):
    path = tmp_path / "recipe.toml"
    table = "\n[[data.train]]\nmanifest = 'm'"
    path.write_text("\ufeff" + text + table, encoding="utf-8")
    with pytest.raises(OptionError, match=says):
        TrainConfig.load(path)

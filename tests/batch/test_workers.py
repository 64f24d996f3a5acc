"""Several processes: the same rows as one, whatever becomes of a process."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

import checkpoints
from ark_asr.batch import workers
from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.predict import Settings
from ark_asr.cli import app
from ark_asr.errors import ModelError
from ark_asr.graphs.convert import build_package
from ark_asr.types import TranscribeOptions
from listener import read_jsonl


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.write_checkpoint(folder / "source")
    build_package(folder / "source", folder / "package", precision="fp32")
    return folder / "package"


def run(*arguments):
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_the_rows_are_those_of_one_process(package, manifest, tmp_path):
    with manifest.open("a") as file:
        file.write('{"audio": "missing.wav"}\n')
    command = ("-i", manifest, "--model", package, "--max-new-tokens", 5, "--threads", 1)
    assert run(*command, "-o", tmp_path / "one").exit_code == 1
    done = run(*command, "-o", tmp_path / "two", "--workers", 2)
    assert done.exit_code == 1, done.stderr
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
    assert any(row["pred_text_raw"] for row in read_jsonl(tmp_path / "one"))
    assert "9 of 9 rows, 1 of them errors" in done.stderr


def test_a_model_that_no_process_can_load(manifest, tmp_path):
    done = run("-i", manifest, "-o", tmp_path / "o", "--model", "no-such-model", "--workers", 2)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "no-such-model" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_memory_limit_too_small_for_the_model(package, manifest, tmp_path):
    done = run("-i", manifest, "-o", tmp_path / "o", "--model", package, "--worker-memory", 0.01)
    assert done.exit_code == 2
    assert not (tmp_path / "o").read_bytes()


class Hungry:
    """Stands for a record that needs more memory than there may be."""

    def __init__(self, record):
        self.record = record

    def __getattr__(self, name):
        return getattr(self.record, name)

    def __reduce__(self):  # in the worker it becomes the record, if 2 GiB are to be had
        return eval, ("(bytearray(2 << 30), record)[1]", {"record": self.record})


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_what_needs_more_memory_than_a_process_may_have_becomes_an_error(package, manifest):
    records = read_manifest(str(manifest))
    settings = Settings(
        str(package), threads=1, options=TranscribeOptions(vad=None, max_new_tokens=3)
    )
    hungry = [records[0], Hungry(records[1]), records[2]]

    def errors(memory):
        with workers.Workers(settings, 1, memory=memory) as pool:
            groups = list(pool.predict(hungry, 3))
        return [prediction.error for group in groups for prediction in group]

    first, second, third = errors(1 << 30)
    assert first is third is None
    assert "is there enough memory?" in second
    assert errors(None) == [None] * 3


class Deadly:
    """Stands for a record that kills the process that works on it."""

    def __init__(self, record):
        self.record = record

    def __getattr__(self, name):
        return getattr(self.record, name)

    def __reduce__(self):  # comes to life in the worker, as it takes the record from its pipe
        return eval, ("__import__('os').kill(__import__('os').getpid(), 9)",)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_record_that_kills_its_process_takes_no_other_with_it(package, manifest):
    records = read_manifest(str(manifest))
    settings = Settings(
        str(package), threads=1, options=TranscribeOptions(vad=None, max_new_tokens=3)
    )
    deadly = [*records[:2], Deadly(records[2]), *records[3:5]]
    heard = []
    with workers.Workers(settings, 1, heard=heard.append) as pool:
        groups = list(pool.predict(deadly, 4))
    errors = [prediction.error for group in groups for prediction in group]
    assert [len(group) for group in groups] == [4, 1]
    assert [error is None for error in errors] == [True, True, False, True, True]
    assert "signal 9" in errors[2]
    assert sum(heard) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_dies_while_loading_is_an_error(package, manifest):
    settings = Deadly(Settings(str(package)))
    with (
        workers.Workers(settings, 1) as pool,
        pytest.raises(ModelError, match=r"while it loaded the model \(signal 9\)"),
    ):
        list(pool.predict(read_manifest(str(manifest)), 4))

"""The program around its verbs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ark_asr
import checkpoints
from ark_asr import cli
from ark_asr.errors import ModelFormatError
from ark_asr.models import store
from ark_asr.models.catalogue import catalogue
from ark_asr.types import Transcript
from ark_asr.writers import get_writer


def run(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def test_version():
    result = run("--version")
    assert (result.stdout, result.exit_code) == (f"ark-asr {ark_asr.__version__}\n", 0)


def test_help_names_all_verbs():
    for verb in ("transcribe", "models", "train"):
        assert verb in run("--help").stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["transcribe"], ["transcribe", "a", "--no"]])
def test_wrong_use_ends_with_2(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_models_list_says_what_the_store_has(monkeypatch):
    result = run("models", "list")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    here = [model.name for model in store.list_models()]
    assert names == [*here, *(entry.name for entry in catalogue())]


def test_a_damaged_model_is_one_line(monkeypatch):
    def damaged():
        raise ModelFormatError("weights.bin: 3 bytes, expected 4")

    monkeypatch.setattr(store, "survey", damaged)
    result = run("models", "list")
    assert (result.exit_code, result.stderr) == (2, "ark-asr: weights.bin: 3 bytes, expected 4\n")


def test_ctrl_c_outside_a_verb(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
@pytest.mark.parametrize("start", ["module", "script"])
def test_ctrl_c_while_the_program_is_being_imported(root, tmp_path, start):
    tmp_path.joinpath("typer.py").write_text(
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["ark-asr"].split(":")
    script = ["-c", f"from {module} import {name}; {name}()"]
    done = subprocess.run(
        [sys.executable, *(["-m", "ark_asr"] if start == "module" else script), "--version"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows cannot close a stream")
def test_standard_streams_that_are_closed(root):
    sample = root / "samples" / "hello.flac"
    command = 'exec "$0" -m ark_asr transcribe "$1" - <&- 2>&-'
    shell = ["sh", "-c", command, sys.executable, str(sample)]
    done = subprocess.run(shell, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 2  # standard input is empty, which nobody can be told
    assert done.stdout.decode() == (
        f"==> {sample} <==\nthere was a light in the window of the house\n==> - <==\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("verb", ["transcribe", "convert-format", "batch"])
def test_when_nobody_reads_any_more_nobody_is_told(root, tmp_path, verb):
    sample = str(root / "samples" / "hello.flac")
    written = tmp_path / "written.jsonl"
    transcript = get_writer("json").render(Transcript((), 1.0, "ark-mini", sample))
    written.write_text(json.dumps({"audio": sample}) if verb == "batch" else transcript)
    arguments = {
        "transcribe": ["-q", sample],
        "convert-format": [str(written), "-f", "json"],
        "batch": ["-q", "-i", str(written), "-o", "-"],
    }[verb]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ark_asr", verb, *arguments],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows sets no limits")
def test_what_cannot_be_written_is_named(root, tmp_path):
    sample, out = str(root / "samples" / "hello.flac"), tmp_path / "out"
    command = 'ulimit -f 0; exec "$0" -m ark_asr transcribe -q "$@"'
    for options, line in (
        ([], f"{out}/hello.txt: cannot be written (File too large)"),
        (["--resume"], f"{sample}: File too large"),
    ):
        shell = ["sh", "-c", command, sys.executable, sample, "-o", str(out), *options]
        done = subprocess.run(shell, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ark-asr: {line}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
@pytest.mark.parametrize("form", ["txt", "json", "docx"])
def test_a_full_disk_behind_standard_output_is_one_line(root, form):
    sample = root / "samples" / "hello.flac"
    command = [sys.executable, "-m", "ark_asr", "transcribe", "-q", sample, "-f", form]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    line = b"ark-asr: standard output cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_what_standard_output_cannot_encode_is_spelled_out(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    monkeypatch.setattr(cli, "app", lambda: print("Čapek"))
    cli.main()
    assert written.getvalue() == b"\\u010capek\n"


def test_line_ends_of_standard_output_are_those_of_files(monkeypatch):
    written = io.BytesIO()
    windows = io.TextIOWrapper(written, "cp1252", newline="\r\n", write_through=True)
    monkeypatch.setattr(sys, "stdout", windows)
    monkeypatch.setattr(cli, "app", lambda: sys.stdout.write("start,end\r\ntext\n"))
    cli.main()
    assert written.getvalue() == b"start,end\r\ntext\n"


def test_converting_a_checkpoint(tmp_path):
    checkpoints.write_checkpoint(tmp_path / "tiny")
    command = ("models", "convert", str(tmp_path / "tiny"), str(tmp_path / "package"))
    result = run(*command, "--precision", "fp32", "--licence", "Apache-2.0")
    assert (result.exit_code, result.stdout) == (0, "")
    found = store.resolve(tmp_path / "package")
    assert (found.name, found.kind, found.precision) == ("tiny", "package", "fp32")
    again = run(*command)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert run(*command, "--overwrite").exit_code == 0
    assert store.resolve(tmp_path / "package").precision == "int8"


def test_a_precision_that_is_not_known(tmp_path):
    checkpoints.write_checkpoint(tmp_path / "tiny")
    result = run("models", "convert", str(tmp_path / "tiny"), str(tmp_path / "p"), "--precision=x")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["train", "supervised", "a.toml"], "torch", "train"),
        (["models", "convert", "a", "b"], "onnx", "convert"),
    ],
)
def test_a_missing_extra_is_named(arguments, module, extra):
    # A fresh interpreter, in which the module cannot be imported.
    code = f"import sys; sys.modules[{module!r}] = None\nfrom ark_asr.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"pip install 'ark-asr[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_training_is_handed_its_options(monkeypatch, tmp_path):
    asked = []

    class Recipe:
        @staticmethod
        def main(config, *, resume, skip_bad, overrides):
            asked.append((config.name, resume, skip_bad, overrides.settings))
            return config

    import ark_asr.training

    monkeypatch.setitem(sys.modules, "ark_asr.training.supervised", Recipe)
    monkeypatch.setattr(ark_asr.training, "supervised", Recipe, raising=False)
    assert run("train", "supervised", "a.toml").exit_code == 0
    changed = ["b.toml", "--resume", "--skip-bad", "--set", "optim.steps=3"]
    assert run("train", "supervised", *changed).exit_code == 0
    assert asked == [("a.toml", False, False, ()), ("b.toml", True, True, ("optim.steps=3",))]

"""`ark-asr models ...` from the outside."""

from __future__ import annotations

import importlib.util
import io
import shutil
import socket
import wave

import numpy as np
import pytest
from typer.testing import CliRunner

from ark_asr import cli
from ark_asr.cli import transfer
from ark_asr.models import home, store
from hubserver import Trouble
from llm_kv_folder import write_llm_kv

NON_COMMERCIAL = {"spdx": "CC-BY-NC-4.0", "commercial": False, "note": "Not for money."}


def run(*arguments, **options):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], **options)


def models(*arguments, **options):
    return run("models", *arguments, **options)


def test_pull_makes_a_package_that_transcribes(server, tiny, tmp_path, monkeypatch):
    result = models("pull", "old/tiny-alias")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "licence Apache-2.0" in result.stderr
    assert "every file is verified" in result.stderr
    found = store.resolve("tiny")
    assert (found.precision, found.path) == ("int8", home.place("tiny", "int8"))

    # From here on nothing may look outside.
    def opened(*args, **kwargs):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, opened)
    server.asked.clear()
    again = models("pull", "tiny", "--offline")
    assert again.exit_code == 0
    assert "is here already" in again.stderr
    sound = tmp_path / "tone.wav"
    write_tone(sound)
    heard = run("--offline", "transcribe", sound, "--model", "tiny", "--no-vad", "-f", "json")
    assert heard.exit_code == 0, heard.stderr
    assert '"tiny"' in heard.stdout
    assert not server.asked


def write_tone(path):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        wave_form = 8000 * np.sin(np.arange(16_000) * 0.1)
        out.writeframes(wave_form.astype("<i2").tobytes())


def test_offline_what_is_not_here_is_said(server, tiny, monkeypatch):
    monkeypatch.setenv("ARK_ASR_OFFLINE", "0")
    for arguments in (
        ("models", "pull", "tiny", "--offline"),
        ("--offline", "models", "pull", "tiny"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "offline:" in result.stderr.splitlines()[-1]
        monkeypatch.setenv("ARK_ASR_OFFLINE", "0")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert not server.asked
    result = run("transcribe", "x.wav", "--model", "tiny")
    assert result.exit_code == 2
    assert "ark-asr models pull tiny" in result.stderr


def test_only_the_checkpoint(server, tiny):
    assert models("pull", "tiny", "--no-convert").exit_code == 0
    assert [str(one) for one in home.installed()] == ["tiny:checkpoint"]
    server.asked.clear()
    assert models("pull", "tiny").exit_code == 0
    assert not server.asked  # only converted
    assert store.resolve("tiny").precision == "int8"


def test_without_the_extra_one_line_says_how(server, tiny, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "onnx" else find(name, *rest),
    )
    result = models("pull", "tiny")
    assert result.exit_code == 0
    assert "pip install 'ark-asr[convert]'" in result.stderr.splitlines()[-1]
    assert [str(one) for one in home.installed()] == ["tiny:checkpoint"]


@pytest.fixture
def restricted(write_catalogue, make_row):
    return write_catalogue(make_row(licence=NON_COMMERCIAL))[0]


def test_a_licence_that_forbids_commercial_use(server, restricted):
    result = models("pull", "tiny", input="y\n")  # no terminal: nobody is asked
    assert result.exit_code == 2
    assert "MAY NOT BE USED COMMERCIALLY" in result.stderr
    assert "--accept-licence" in result.stderr.splitlines()[-1]
    assert not server.asked
    accepted = models("pull", "tiny", "--no-convert", "--accept-licence")
    assert accepted.exit_code == 0
    assert "MAY NOT" not in accepted.stderr
    assert "CC-BY-NC-4.0" in accepted.stderr


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_somebody_at_a_terminal_is_asked(server, restricted, monkeypatch, answer, code):
    from ark_asr.cli import pull

    class Terminal:
        @staticmethod
        def isatty():
            return True

    class Sys:
        stdin = Terminal

    monkeypatch.setattr(pull, "sys", Sys)
    result = models("pull", "tiny", "--no-convert", input=answer)
    assert result.exit_code == code
    assert "Do you accept CC-BY-NC-4.0?" in result.stderr
    assert bool(home.installed()) == (code == 0)


def test_a_layout_that_cannot_be_run_yet(server, write_catalogue, make_row):
    write_catalogue(make_row(layout="masterx", runs=False))
    result = models("pull", "tiny")
    assert result.exit_code == 2
    assert "cannot run its layout (masterx) yet; --no-convert fetches it" in result.stderr
    assert not server.asked
    assert models("pull", "tiny", "--no-convert").exit_code == 0
    assert "cannot be run yet" in models("list").stdout
    assert models("verify", "tiny").exit_code == 0
    assert models("path", "tiny").stdout.strip() == str(home.place("tiny", "masterx"))


def test_a_name_that_is_not_known(server, tiny):
    result = models("pull", "whisper")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "ark-asr: 'whisper' is not in the catalogue; tiny are\n"


def test_a_refused_file_is_one_line(server, tiny):
    server.trouble["model.safetensors"] = Trouble(wrong=True)
    result = models("pull", "tiny")
    assert result.exit_code == 2
    assert "model.safetensors: SHA-256 is" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_the_life_of_a_model(server, tiny, built, tmp_path):
    assert "can be pulled; Apache-2.0" in models("list").stdout
    assert "here         no; ark-asr models pull tiny" in models("info", "tiny").stdout
    models("pull", "tiny", "--no-convert")
    shutil.copytree(built, home.place("tiny", "int8"))
    listed = [line.split()[:2] for line in models("list").stdout.splitlines()]
    assert ["tiny", "int8"] in listed
    assert ["tiny", "checkpoint"] in listed
    told = models("info", "old/tiny-alias").stdout
    for said in (
        "a guess",
        "Apache-2.0",
        "New/tiny",
        "model.safetensors",
        "int8:",
        "hash of the hub",
    ):
        assert said in told
    assert models("path", "tiny").stdout.strip() == str(home.place("tiny", "int8"))
    verified = models("verify", "tiny")
    assert (verified.exit_code, len(verified.stdout.splitlines())) == (0, 2)

    archive = tmp_path / "tiny.tar"
    exported = models("export", "tiny", archive)
    assert exported.exit_code == 0
    sha256 = exported.stdout.split()[0]
    removed = models("remove", "tiny")
    assert (removed.exit_code, home.installed()) == (0, [])
    assert models("import", archive, "--sha256", "0" * 64).exit_code == 2
    assert models("import", archive, "--sha256", sha256.upper()).exit_code == 0
    assert [str(one) for one in home.installed()] == ["tiny:int8"]
    assert models("import", archive).exit_code == 2
    assert models("import", archive, "--overwrite").exit_code == 0
    with (home.place("tiny", "int8") / "weights.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    damaged = models("verify", "tiny")
    assert (damaged.exit_code, damaged.stdout) == (2, "")
    assert "weights.bin" in damaged.stderr


def test_a_damaged_model_does_not_hide_the_others(server, tiny, built):
    shutil.copytree(built, home.place("tiny", "int8"))
    shutil.copytree(built, home.place("cut", "int8"))
    (home.place("cut", "int8") / "weights.bin").write_bytes(b"")
    result = models("list")
    assert result.exit_code == 0
    listed = {tuple(line.split()[:2]): line for line in result.stdout.splitlines()}
    assert "(damaged; ark-asr models remove cut:int8)" in listed["cut", "int8"]
    assert "damaged" not in listed["tiny", "int8"]
    assert "weights.bin: 0 bytes, expected" in result.stderr
    well = run("doctor", "--seconds", "0")
    assert well.exit_code == 1
    assert "model        cut (int8): damaged" in well.stdout
    assert "model        tiny (int8): every file is as recorded" in well.stdout
    assert models("remove", "cut:int8").exit_code == 0
    assert "damaged" not in models("list").stdout


def test_what_a_message_says_to_do_helps(server, tiny):
    models("pull", "tiny", "--no-convert")
    (home.place("tiny", "checkpoint") / "config.json").unlink()
    stuck = models("pull", "tiny", "--no-convert")
    assert stuck.exit_code == 2
    assert stuck.stderr.endswith("no such file; remove the model and pull it again\n")
    assert models("remove", "tiny").exit_code == 0
    assert models("pull", "tiny", "--no-convert").exit_code == 0
    assert models("verify", "tiny").exit_code == 0


def test_what_is_not_there(server, tiny, tmp_path):
    for verb in ("path", "verify", "export", "info", "remove"):
        result = models(verb, "nothing")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), verb
    assert models("import", tmp_path / "none.tar").exit_code == 2


def test_a_non_commercial_licence_is_said_at_import(server, restricted, tmp_path):
    models("pull", "tiny", "--no-convert", "--accept-licence")
    models("export", "tiny", tmp_path / "a.tar")
    models("remove", "tiny")
    result = models("import", tmp_path / "a.tar")
    assert result.exit_code == 0
    assert "CC-BY-NC-4.0: Not for money." in result.stderr


def test_folders_and_embedded_models(tiny, built, tmp_path, monkeypatch):
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    shutil.copytree(built, data / "own")
    manifest = data / "own" / "ark_asr.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"own"', 1))
    monkeypatch.setattr(store, "_EMBEDDED", data)
    refused = models("remove", "own")
    assert refused.exit_code == 2
    assert "part of this program" in refused.stderr
    assert "is here already" in models("pull", "own").stderr
    assert "int8" in models("info", "own").stdout
    assert models("verify", data / "own").exit_code == 0
    assert models("export", "own", tmp_path / "own.tar").exit_code == 0
    assert models("import", tmp_path / "own.tar").exit_code == 0
    assert models("remove", "own").exit_code == 0
    assert (data / "own").is_dir()


def test_a_copy_of_the_embedded_model_in_the_store_does_not_pass_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path / "home"))
    archive = tmp_path / "mini.tar"
    assert models("export", "ark-mini", archive).exit_code == 0
    assert models("import", archive).exit_code == 0
    own, copy = str(store.resolve("ark-mini").path), str(store.resolve("ark-mini:int8").path)
    assert own != copy
    for verb in ("path", "info", "verify"):
        for name, meant, other in (("ark-mini", own, copy), ("ark-mini:int8", copy, own)):
            said = models(verb, name).stdout
            assert meant in said, verb
            assert other not in said, verb
    listed = models("list").stdout.splitlines()
    assert [line.split()[3:] for line in listed[:2]] == [
        ["MB", "(default)"], ["MB", "(--model", "ark-mini:int8)"],
    ]  # fmt: skip


def test_a_terminal_sees_bytes_and_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with transfer.ByteLine("tiny") as line:
        line.to(5_000_000, 20_000_000, "tiny/model.safetensors")
        line.more(5_000_000)
        line._bar.refresh()
    shown = screen.getvalue()
    assert "tiny/model.safetensors" in shown
    assert "10.0/20.0 MB" in shown
    screen.truncate(0)
    with transfer.ByteLine("tiny", show=False) as line:
        line.to(1, 2, "x")
        line.more(1)
    assert not screen.getvalue().strip("\0")


def test_a_published_onnx_package_is_ready_as_it_is(
    server, published, write_catalogue, make_row, tmp_path
):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (source / name).write_bytes(published[name])
    folder = write_llm_kv(source, tmp_path / "llm-kv", embedding="fp16")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.repositories["New/tiny"] = {**content, "infer_tiny.py": b"raise SystemExit\n"}
    files = [{"name": n, "size": None, "sha256": None, "optional": False} for n in content]
    write_catalogue(make_row(layout="official-int8", files=files))
    result = models("pull", "tiny", "--no-convert")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.endswith("ready: ark-asr transcribe FILE --model tiny\n")
    assert not (home.place("tiny", "official-int8") / "infer_tiny.py").exists()
    assert "tiny                      fp32" in models("list").stdout
    sound = tmp_path / "tone.wav"
    write_tone(sound)
    heard = run("--offline", "transcribe", sound, "--model", "tiny", "--no-vad", "-f", "json")
    assert heard.exit_code == 0, heard.stderr
    assert '"tiny"' in heard.stdout

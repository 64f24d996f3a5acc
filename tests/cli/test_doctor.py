"""The verb `doctor`: true statements about this computer, and a damaged model is found."""

from __future__ import annotations

import re
import shutil

import pytest
from typer.testing import CliRunner

from ark_asr.cli import app
from ark_asr.engines import cpu
from ark_asr.models import store
from ark_asr.pipeline import health

LINUX = """processor : 0
model name : Some Processor
flags : fpu avx2 avx512f avx512_vnni amx_int8
processor : 1
model name : Some Processor
"""
ARM = "processor : 0\nFeatures : fp asimd asimddp i8mm\n"


def run(*arguments):
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_all_is_well(root):
    result = run("--seconds", "0.1", "--threads", "1")
    assert result.exit_code == 0
    assert "model        ark-mini (int8): every file is as recorded" in result.stdout
    assert re.search(r"RTF \d+\.\d{3}, [\d.]+ times (faster|slower) than speech", result.stdout)
    said = (root / "samples" / "hello.txt").read_text().strip().lower().rstrip(".")
    assert result.stdout.splitlines()[-1].strip() == said


@pytest.mark.parametrize(
    ("rtf", "said"),
    [(0.02, "50 times faster"), (0.6, "1.7 times faster"), (2.5, "2.5 times slower")],
)
def test_slow_is_not_called_fast(monkeypatch, rtf, said):
    monkeypatch.setattr(health, "self_test", lambda *_: health.SelfTest(2.0, (2 * rtf,), "hello"))
    assert f"{said} than speech" in run("--threads", "1").stdout


@pytest.mark.parametrize("seconds", ["nan", "inf", "-3"])
def test_the_self_test_takes_a_time(seconds):
    result = run(f"--seconds={seconds}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"ark-asr: seconds is {seconds}; it must be a time")


def test_the_recording_of_the_self_test_is_a_sample(root):
    inside = root / "src" / "ark_asr" / "data" / "hello.flac"
    assert inside.read_bytes() == (root / "samples" / "hello.flac").read_bytes()


def test_a_damaged_model_is_found(tmp_path, monkeypatch):
    shutil.copytree(store.resolve().path, tmp_path / "ark-mini")
    weights = tmp_path / "ark-mini" / "weights.bin"
    data = bytearray(weights.read_bytes())
    data[1000] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(store, "_EMBEDDED", tmp_path)
    result = run("--seconds", "0")
    assert result.exit_code == 1
    assert "ark-mini (int8): damaged" in result.stdout
    assert "weights.bin" in result.stderr


@pytest.mark.parametrize(
    ("text", "name", "instructions"),
    [
        (LINUX, "Some Processor", ["AMX", "AVX-512 VNNI", "AVX-512", "AVX2"]),
        (ARM, None, ["i8mm", "dot product", "NEON"]),
    ],
)
def test_what_the_system_tells_of_the_processor(monkeypatch, text, name, instructions):
    pairs = [tuple(part.strip() for part in line.split(":")) for line in text.splitlines()]
    monkeypatch.setattr(cpu, "_cpuinfo", lambda: pairs)
    assert cpu.int8_instructions() == instructions
    assert name is None or cpu.cpu_name() == name

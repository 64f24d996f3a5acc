"""Processes: one system each, measured the same way, whatever becomes of it."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest

from ark_asr.audio import load_audio
from ark_asr.batch.records import Record
from ark_asr.errors import OptionError
from ark_asr.evaluation.compare.base import RATE
from ark_asr.evaluation.compare.contenders import parse_one
from ark_asr.evaluation.compare.run import Broke, Conditions, Ran, check_languages, run
from ark_asr.evaluation.compare.weights import locate
from ark_asr.evaluation.compare.worker import clips_of, one_line, peak_memory

ALONE = Conditions(threads=1, warm_up=0)


def record(path, text="", number=1, begin=-1.0, end=-1.0, **extra):
    return Record(number, str(path), str(path), text, begin, end, tuple(extra.items()))


@pytest.fixture
def records(root):
    names = ("hello.flac", "gone.flac", "numbers.flac")
    return [record(root / "samples" / name, "words", n) for n, name in enumerate(names, 1)]


def test_a_system_hears_all_recordings_in_a_process_of_its_own(records):
    contender = parse_one("ark-mini")
    seen = []
    result = run(contender, locate(contender), records, Conditions(1, warm_up=1),
                 lambda done, heard: seen.append((done, heard)))  # fmt: skip
    assert isinstance(result, Ran)
    assert [done for done, _ in seen] == [1, 2, 3]  # what warms up is not among them
    assert tuple(heard for _, heard in seen) == result.heard
    hello, gone, numbers = result.heard
    assert hello.text
    assert hello.error is None
    assert "no such file" in gone.error
    assert (gone.text, gone.first) == ("", None)
    assert result.audio == pytest.approx(hello.audio + numbers.audio)
    assert result.rtf == pytest.approx((hello.seconds + numbers.seconds) / result.audio)
    assert 0 < hello.first <= hello.seconds
    assert result.load > 0
    assert result.memory > 30 << 20
    assert result.precision == "int8"
    assert result.here.runs_on == "ark-asr, onnx"


def test_a_system_that_cannot_be_opened_is_told_of(records, tmp_path, stand_in):
    pytest.importorskip("onnx_asr", reason="needs the extra 'onnx-asr'")
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in stand_in("onnx-asr").iterdir():
        (folder / file.name).write_bytes(
            file.read_bytes()[: 100 if file.suffix == ".onnx" else None]
        )
    contender = parse_one(f"onnx-asr:{folder}")
    result = run(contender, locate(contender), records, ALONE)
    assert isinstance(result, Broke)
    assert len(result.why.splitlines()) == 1


def test_a_system_that_hears_nothing_has_no_rates(records):
    contender = parse_one("http://127.0.0.1:9/v1")
    result = run(contender, locate(contender), records, ALONE)
    assert isinstance(result, Broke)
    assert "it heard none of the recordings: " in result.why
    assert "127.0.0.1:9" in result.why


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_a_process_that_is_killed_is_told_of(records):
    contender = parse_one("ark-mini")

    def kill(done, heard):
        for child in multiprocessing.active_children():
            child.kill()

    result = run(contender, locate(contender), records * 2000, ALONE, kill)
    assert result == Broke("its process ended (signal 9); is there enough memory?")


def test_the_environment_is_as_it_was(records, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    contender = parse_one("ark-mini")
    before = dict(os.environ)
    run(contender, locate(contender), records[:1], ALONE)
    assert dict(os.environ) == before


def test_clips_hold_the_whole_recording(root):
    path = root / "samples" / "minute.flac"
    clips = list(clips_of(record(path), 20.0))
    whole = load_audio(path).samples
    assert max(map(len, clips)) <= 20 * RATE
    assert len(clips) >= 4
    np.testing.assert_array_equal(np.concatenate(clips), whole)
    part = np.concatenate(list(clips_of(record(path, begin=5.0, end=8.0), 20.0)))
    np.testing.assert_array_equal(part, whole[5 * RATE : 8 * RATE])


def test_languages():
    conditions = Conditions(1, language="nl-BE", language_field="lang")
    assert conditions.language_of(record("a", lang="de-AT")) == "de"
    assert conditions.language_of(record("a", lang=7)) == "nl"
    assert Conditions(1).language_of(record("a")) == ""
    cohere = [parse_one("ark-mini"), parse_one("cohere-transcribe")]
    with pytest.raises(
        OptionError, match="cohere-transcribe must be told the language, and line 1"
    ):
        check_languages(cohere, [record("a")], Conditions(1))
    check_languages(cohere, [record("a")], conditions)
    check_languages(cohere[:1], [record("a")], Conditions(1))


@pytest.mark.parametrize(
    "wrong", [{"threads": 0}, {"clip_seconds": 31.0}, {"clip_seconds": 0.5}, {"warm_up": -1}]
)
def test_conditions_that_make_no_sense(wrong):
    with pytest.raises(OptionError):
        Conditions(**({"threads": 1} | wrong))


def test_errors_are_one_line():
    assert one_line(RuntimeError("first\nsecond")) == "RuntimeError: first"
    assert one_line(OptionError("ours")) == "ours"
    assert one_line(MemoryError()) == "MemoryError"


def test_memory_is_that_of_this_process():
    before = peak_memory()
    if before is None:
        pytest.skip("this system does not tell")
    block = np.ones(64 << 20, np.uint8)
    assert peak_memory() >= max(before, block.nbytes)

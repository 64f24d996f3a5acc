from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
from typer.testing import CliRunner

from ark_asr.audio import load_audio
from ark_asr.cli import app
from ark_asr.evaluation import speed
from ark_asr.evaluation.speed import Plan, _clips
from ark_asr.types import Audio


def bench(*arguments):
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_every_combination_is_measured(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    out, plot = tmp_path / "speed.json", tmp_path / "speed.svg"
    result = bench("--threads", 1, "--seconds", 1, "--seconds", 2, "--batch-size", 1,
                   "--batch-size", 2, "--repeats", 2, "-o", out, "--plot", plot)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    data = json.loads(out.read_text())
    assert [(one["seconds"], one["batch"]) for one in data["measured"]] == [
        (1.0, 1), (1.0, 2), (2.0, 1), (2.0, 2),
    ]  # fmt: skip
    for one in data["measured"]:
        assert (one["model"], one["precision"], one["clips"]) == ("ark-mini", "int8", 2)
        assert len(one["times"]) == len(one["firsts"]) == 2
        assert one["rtf_best"] == pytest.approx(min(one["times"]) / (2 * one["seconds"]))
        assert one["rtf_best"] <= one["rtf_median"]
        for first, all_of_it in zip(one["firsts"], one["times"], strict=True):
            # Together, the first text is there when all of it is.
            assert 0 < first <= all_of_it
    assert len(result.stdout.splitlines()) == 6
    assert data["machine"]["cpu"] in result.stdout
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "threads is 0; it must be at least 1"),
        (["--threads", "1000000"], "threads is 1000000; it must be 1 to 1024"),
        (["--seconds", "0.5"], "seconds is 0.5"),
        (["--seconds", "31"], "clips of 31 s; ark-mini takes up to"),
        (["--repeats", "0"], "repeats is 0"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--audio", "gone.wav"], "gone.wav: no such file"),
        (["--plot", "speed.gif"], "a picture cannot be '.gif'"),
        (["-o", "."], ".: is a folder; name a file"),
        (["-o", f"{__file__}/speed.json"], "speed.json: cannot be written"),
        (["--plot", f"{__file__}/speed.svg"], "speed.svg: cannot be written"),
    ],
)
def test_bad_options_are_one_line(arguments, message, monkeypatch):
    monkeypatch.setattr(speed, "_time", lambda *_: pytest.fail("this took minutes"))
    result = bench(*arguments, "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_asks_for_something():
    assert Plan().models == (None,)


def test_clips_follow_each_other_and_have_one_length():
    sound = Audio(np.arange(16_000 * 5, dtype=np.float32), 16_000)
    clips = _clips(sound, 2.0, 4)
    assert {len(clip.samples) for clip in clips} == {32_000}
    assert [clip.samples[0] for clip in clips] == [0, 32_000, 64_000, 16_000]


def test_what_is_heard_by_default_is_the_sample(root):
    packed = load_audio(resources.files("ark_asr").joinpath("data/minute.ogg").read_bytes())
    sample = load_audio(root / "samples" / "minute.flac")
    assert packed.duration == pytest.approx(sample.duration, abs=0.05)
    count = min(len(packed.samples), len(sample.samples))
    assert np.corrcoef(packed.samples[:count], sample.samples[:count])[0, 1] > 0.9

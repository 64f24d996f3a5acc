"""Noise at a ratio: the ratio is kept, and the same mixture comes out every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.audio import load_audio
from ark_asr.corpora.mixing import Ratios, mix
from ark_asr.errors import AudioError, OptionError
from listener import read_jsonl, wav, write_jsonl


def decibels(signal, noise):
    power = [np.mean(np.square(sound, dtype=np.float64)) for sound in (signal, noise)]
    return 10 * np.log10(power[0] / power[1])


@given(st.floats(-20, 40), st.floats(0.01, 0.9), st.integers(0, 9))
def test_the_ratio_is_kept_and_nothing_clips(snr_db, loudness, seed):
    rng = np.random.default_rng(seed)
    speech = (loudness * np.sin(np.arange(4000) / 7)).astype(np.float32)
    noise = rng.normal(0, 0.1, 4000).astype(np.float32)
    both, gain = mix(speech, noise, snr_db)
    assert np.abs(both).max() <= 0.9901
    assert decibels(speech, both / np.float32(gain) - speech) == pytest.approx(snr_db, abs=0.05)


def test_silence_has_no_ratio():
    sound, silence = np.ones(100, np.float32), np.zeros(100, np.float32)
    with pytest.raises(AudioError, match="the speech is silent"):
        mix(silence, sound, 5)
    with pytest.raises(AudioError, match="the noise is silent"):
        mix(sound, silence, 5)


@pytest.fixture
def speech_and_noise(tmp_path):
    rows = [{"audio": wav(tmp_path / "s" / f"{n}.wav", n).name, "text": f"t {n}", "task": "asr",
             "duration": n * 0.05} for n in (10, 30, 21)]  # fmt: skip
    rows.append({"audio": "30.wav", "text": "part", "begin_time": 0.5, "end_time": 1.0})
    wav(tmp_path / "noise" / "long.wav", 60)
    wav(tmp_path / "noise" / "short.wav", 4)
    return write_jsonl(tmp_path / "s" / "m.jsonl", rows), tmp_path / "noise"


def test_mixed_recordings_say_what_they_are_made_of(data, speech_and_noise, tmp_path):
    source, noise = speech_and_noise
    result = data("mix", source, "--noise", noise, "--snr", "3:9", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    rows = read_jsonl(tmp_path / "out" / "manifest.jsonl")
    assert [(row["text"], row.get("task"), row["duration"]) for row in rows] == [
        ("t 10", "asr", 0.5), ("t 30", "asr", 1.5), ("t 21", "asr", 1.05), ("part", None, 0.5)
    ]  # fmt: skip
    assert "begin_time" not in rows[3]
    for row in rows:
        made = row["mixed"]
        assert 3 <= made["snr_db"] <= 9
        begin, end = (None if made[key] < 0 else made[key] for key in ("begin", "end"))
        clean = load_audio(source.parent / made["clean"], begin=begin, end=end).samples
        whole = load_audio(made["noise"]).samples
        first = round(made["noise_begin"] * 16_000)
        behind = np.take(whole, np.arange(first, first + len(clean)), mode="wrap")
        mixed = load_audio(tmp_path / "out" / row["audio"]).samples / made["gain"]
        added = mixed - clean
        assert decibels(clean, added) == pytest.approx(made["snr_db"], abs=0.05)
        assert np.corrcoef(added, behind)[0, 1] > 0.999


def test_the_same_every_time_and_otherwise_with_another_seed(data, speech_and_noise, tmp_path):
    source, noise = speech_and_noise

    def files(name, *flags):
        assert data("mix", source, "--noise", noise, "-o", tmp_path / name, *flags).exit_code == 0
        return [file.read_bytes() for file in sorted((tmp_path / name / "audio").iterdir())]

    first = files("a", "--threads", 1)
    assert files("b", "--threads", 3) == first
    other = files("c", "--seed", 1)
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_what_cannot_be_mixed_is_left_out(data, speech_and_noise, tmp_path):
    source, noise = speech_and_noise
    with source.open("a") as file:
        file.write('{"audio": "missing.wav"}\n')
    result = data("mix", source, "--noise", noise, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "left out: " in result.stderr
    assert "4 rows, 1 left out" in result.stderr
    (noise / "bad.wav").write_text("no noise")
    result = data("mix", source, "--noise", noise, "-o", tmp_path / "new")
    assert (result.exit_code, "noise cannot be used" in result.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_read_is_written_over(data, speech_and_noise, tmp_path):
    source, noise = speech_and_noise
    out = tmp_path / "out"
    assert data("mix", source, "--noise", noise, "-o", out).exit_code == 0
    made = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = write_jsonl(tmp_path / "m.jsonl", [{"audio": str(out / "audio" / "0000001.wav")}])
    for again, message in ((out / "manifest.jsonl", "is an input"), (other, "0000001.wav is read")):
        result = data("mix", again, "--noise", noise, "-o", out, "--overwrite")
        assert (result.exit_code, message in result.stderr) == (2, True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == made


@pytest.mark.parametrize("text", ["", "loud", "9:3", "nan", "1:2:3", "200"])
def test_ratios_that_make_no_sense(text):
    with pytest.raises(OptionError, match="--snr"):
        Ratios.parse(text)

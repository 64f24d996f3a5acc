"""Manifests as people write them, and sound as they have it."""

from __future__ import annotations

import json
import struct
import wave

import numpy as np
import pytest

import tones
from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training import supervised
from ark_asr.training.augment import change_sound
from ark_asr.training.config import AugmentConfig, TrainConfig
from ark_asr.training.data import Batches
from ark_asr.training.rows import Row, read_manifest, read_samples

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)


def write(path, samples=NOISE, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def read(tmp_path, *lines, name="m.jsonl"):
    path = tmp_path / name
    path.write_bytes(b"\n".join(lines))
    return read_manifest(path)


def test_a_manifest_from_an_editor_of_windows_is_read(tmp_path):
    line = '{"audio": "a.wav", "text": "grün", "duration": 1}\r'.encode()
    rows = read(tmp_path, b"\xef\xbb\xbf" + line, line)
    assert [row.text for row in rows] == ["grün", "grün"]


def test_line_ends_of_unicode_do_not_end_a_line(tmp_path):
    row = {"audio": "a.wav", "text": "one\u2028two\x85three", "duration": 1}
    (found,) = read(tmp_path, json.dumps(row, ensure_ascii=False).encode())
    assert found.text == row["text"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": None}, "'text' must be what is said"),  # it was learnt as the word None
        ({"text": 42}, "'text' must be text, not 42"),
        ({"text": "half \ud83d"}, "holds a value that JSON cannot"),  # it ended a run in the middle
        ({"duration": "long"}, "'duration' must be a number"),
        ({"begin_time": float("nan")}, "NaN is no number"),
        ({"begin_time": 2, "end_time": 2}, "must come after"),
        ({"offset": -1, "bytes": 5}, "whole numbers"),
        ({"offset": 3.5}, "whole numbers"),
        ({"audio": None}, "'audio' must be a path"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(tmp_path, row, says):
    whole = {"audio": "a.wav", "text": "x", "duration": 1.0, **row}
    with pytest.raises(OptionError, match=rf"m\.jsonl:1: not a usable row: .*{says}"):
        read(tmp_path, json.dumps(whole).encode())


def test_tables_are_refused_by_name(tmp_path):
    with pytest.raises(OptionError, match="training reads JSON lines"):
        read(tmp_path, b"audio,text", name="m.csv")


@pytest.mark.parametrize(
    ("times", "end", "seconds"),
    [
        ({"begin_time": None, "end_time": None, "duration": 2.0}, None, 2.0),
        ({"begin_time": 5.0, "duration": 2.0}, 7.0, 2.0),  # all until the end was heard before
        ({"begin_time": 5.0, "end_time": 8.0, "duration": None}, 8.0, 3.0),
        ({"begin_time": 5.0, "end_time": 8.0, "duration": 3600.0}, 8.0, 3.0),
        ({"begin_time": 5.0, "end_time": 8.0, "duration": 3.004}, 8.0, 3.004),
    ],
)
def test_how_long_a_row_is(tmp_path, times, end, seconds):
    row = {"audio": "a.wav", "text": "x", **times}
    (found,) = read(tmp_path, json.dumps(row).encode())
    assert (found.end, found.seconds) == (end, seconds)


def test_wav_files_of_other_forms_are_decoded(tmp_path):
    data = NOISE.astype("<f4").tobytes()
    head = struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)  # 32-bit floats
    riff = b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "f.wav").write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)
    found = read_samples(Row(str(tmp_path / "f.wav"), "x", 0.5, 1.0, 0.5), 16_000)
    np.testing.assert_allclose(found, NOISE[8_000:16_000], atol=1e-6)


def test_a_wav_file_that_was_cut_within_a_sample_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:2_001])
    found = read_samples(Row(str(path), "x", 0.0, 1.0, 1.0), 16_000)
    np.testing.assert_allclose(found, NOISE[: len(found)], atol=1e-4)
    assert len(found) == (2_001 - 44) // 2


@pytest.fixture
def batch_of(byte_checkpoint):
    """The batch of one row."""
    tokenizer = Tokenizer.load(byte_checkpoint)

    def get(path, text="x", *times):
        row = Row(str(path), text, *(times or (0.0, None)), 1.0)
        batches = Batches(
            [row], [(0, [0])], tokenizer, AugmentConfig(time_masks=0), seed=1, skip_bad=True
        )
        return batches[0]

    return get


@pytest.mark.parametrize(
    ("seconds", "text", "times", "says"),
    [
        (2, "x", (5.0, 6.0), "beyond the end"),
        (2, "x", (2.0, 2.5), "beyond the end"),
        (2, "x", (0.0, 0.005), "too short to be heard"),
        (46, "x", (), "46.0 s long, its row says 1.0 s, and 30 s are heard at once"),
        (2, "a<|audio|>b", (), "its text has <|audio|>"),
        (2, "a<|im_end|>b", (), "its text has <|im_end|>"),
    ],
)
def test_sound_and_text_that_do_not_belong_together_are_passed_over(
    tmp_path, batch_of, seconds, text, times, says
):
    path = write(tmp_path / "a.wav", np.tile(NOISE, seconds // 2))
    batch = batch_of(path, text, *times)
    assert batch.empty
    assert len(batch.skipped) == 1
    assert says in batch.skipped[0]


def test_a_long_clip_is_not_slowed_until_its_last_words_are_lost():
    click = np.zeros(480_000, np.float32)
    click[-1_600:] = 0.5
    config = AugmentConfig(speed=0.1, noise=0.0, gain_db=0.0)
    for seed in range(8):
        heard = change_sound(click, 16_000, config, np.random.default_rng(seed), longest=480_000)
        assert len(heard) <= 480_001
        assert np.abs(heard[:480_000]).max() > 0.4


def test_what_a_worker_cannot_read_is_one_line(tmp_path):
    material = tones.write_material(tmp_path)
    (material / "train.jsonl").write_text('{"audio": "lost.flac", "text": "a", "duration": 0.4}')
    path = tones.recipe(material, tmp_path / "run", steps=2, workers=1)
    run = supervised.prepare(TrainConfig.load(path), resume=False, skip_bad=False)
    with pytest.raises(OptionError) as caught:
        next(supervised.portions(run))
    assert str(caught.value).startswith("cannot train on ")
    assert "\n" not in str(caught.value)

"""Manifests, batches and their order."""

from __future__ import annotations

import json
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.augment import change_sound, mask_mel
from ark_asr.training.config import AugmentConfig, DataConfig, Source, TrainConfig
from ark_asr.training.data import IGNORED, collate
from ark_asr.training.order import gather_rows, plan
from ark_asr.training.rows import Row, read_manifest, read_samples


def row(seconds, name="a.wav"):
    return Row(name, "x", 0.0, seconds, seconds)


@given(
    st.lists(st.floats(0.3, 14.0), min_size=1, max_size=60),
    st.integers(1, 50),
    st.sampled_from([0, 20]),
)
def test_an_epoch_hears_every_row_once_within_the_limits(lengths, seed, ramp):
    rows = [row(seconds) for seconds in lengths]
    config = DataConfig(batch_seconds=20.0, batch_clips=8, ramp_steps=ramp)
    order = plan(rows, config, seed=seed, batches=200)
    assert len(order) == 200
    for _, batch in order:
        assert len(batch) <= 8
        assert len(batch) == 1 or len(batch) * max(rows[i].seconds for i in batch) <= 20.0
    epochs = [sorted(i for e, b in order if e == epoch for i in b) for epoch in range(2)]
    if order[-1][0] > 2:
        assert epochs == [list(range(len(rows)))] * 2
    assert order == plan(rows, config, seed=seed, batches=200)
    assert order[:50] == plan(rows, config, seed=seed, batches=50)[:50]


def test_short_clips_come_first_while_the_ramp_lasts():
    rows = [row(1.0 + 0.1 * i) for i in range(100)]
    config = DataConfig(batch_seconds=8.0, max_seconds=11.0, ramp_seconds=2.0, ramp_steps=30)
    order = plan(rows, config, seed=1, batches=30)
    longest = [max(rows[i].seconds for i in batch) for _, batch in order]
    for number, seconds in enumerate(longest):
        assert seconds <= max(2.0 + 9.0 * number / 30, min(longest))


def test_a_long_ramp_looks_at_each_row_a_few_times_only():
    looks = 0

    class Watched:
        @property
        def seconds(self):
            nonlocal looks
            looks += 1
            return 9.0 + 1e-3 * (looks % 10)

    config = DataConfig(batch_clips=1, max_seconds=15.0, ramp_seconds=3.0, ramp_steps=1000)
    assert len(plan([Watched()] * 1000, config, seed=1, batches=1000)) == 1000
    assert looks < 10_000  # each waiting batch at each step would be half a million


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not a usable row"),
        ("[]", "not a usable row"),
        ('{"audio": "a.wav"}', "duration"),
        ('{"audio": "a.wav", "text": "x", "begin_time": 2, "end_time": 1}', "after"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, says):
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio": "a.wav", "text": "x", "duration": 1}\n\n' + line)
    with pytest.raises(OptionError, match=rf"m\.jsonl:3: .*{says}"):
        read_manifest(path)


def test_repeat_and_too_long(tmp_path):
    path = tmp_path / "m.jsonl"
    lines = [{"audio": "a.wav", "text": "x", "duration": d} for d in (1, 20)]
    path.write_text("\n".join(map(json.dumps, lines)))
    rows, too_long = gather_rows([Source(str(path), repeat=3)], 15.0)
    assert (len(rows), too_long) == (3, 3)
    with pytest.raises(OptionError, match=r"at most 0\.5 s"):
        gather_rows([Source(str(path))], 0.5)


def write_wav(path, samples, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_a_piece_of_a_long_file_is_read_in_place(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    write_wav(tmp_path / "long.wav", samples)
    piece = read_samples(Row(str(tmp_path / "long.wav"), "x", 1.0, 1.5, 0.5), 16_000)
    np.testing.assert_allclose(piece, samples[16_000:24_000], atol=1e-4)


def test_a_piece_in_another_rate_is_decoded(tmp_path):
    write_wav(tmp_path / "long.wav", np.zeros(24_000), rate=8_000)
    piece = read_samples(Row(str(tmp_path / "long.wav"), "x", 1.0, 2.0, 1.0), 16_000)
    assert abs(len(piece) - 16_000) <= 2


def test_labels_are_the_transcript_and_the_end(byte_checkpoint):
    tokenizer = Tokenizer.load(byte_checkpoint)
    mels = [np.ones((128, 40), np.float32), np.ones((128, 100), np.float32)]
    batch = collate(mels, ["ab", "c"], tokenizer)
    end = tokenizer.id_of(tokenizer.eos_token)
    for i, text in enumerate(["ab", "c"]):
        labels = batch.labels[i]
        places = (labels != IGNORED).nonzero()[:, 0]
        assert labels[places].tolist() == [*tokenizer.encode(text), end]
        # What is fed at a place is the id before the one that is asked for there.
        fed = batch.token_ids[i][places].tolist()
        assert fed == [tokenizer.id_of("<|assistant|>"), *tokenizer.encode(text)]
        slots = int((batch.token_ids[i] == tokenizer.config.audio_token_id).sum())
        assert slots == tokenizer.config.audio_slots(int(batch.frames[i]))
    assert batch.transcripts.tolist() == tokenizer.encode("abc")


def test_augmentation_follows_its_seed_and_keeps_the_form():
    samples = np.random.default_rng(1).standard_normal(16_000).astype(np.float32) * 0.1
    config = AugmentConfig(noise=1.0)
    one, two = (change_sound(samples, 16_000, config, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32
    assert 14_000 < len(one) < 18_000
    assert not np.array_equal(one[:100], samples[:100])
    mel = np.random.default_rng(2).standard_normal((128, 300)).astype(np.float32)
    masked = mask_mel(mel, AugmentConfig(freq_masks=2, time_masks=10), np.random.default_rng(1))
    assert masked.shape == mel.shape
    assert (masked != mel).any()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("output = 'x'", "start is missing"),
        ("start = 1\noutput = 'x'", "start is 1, expected str"),
        ("start = 's'\noutput = 'x'\nsteps = 3", "unknown steps"),
        ("start = 's'\noutput = 'x'\n[optim]\nlr = 3", "optim: unknown lr"),
        ("start = 's'\noutput = 'x'", "names no manifest"),
        ("start = 's'\noutput = 'x'\nprecision='fp8'\n[[data.train]]\nmanifest='m'", "bf16"),
        ("start = 's'\noutput = 'x'\n[[data.train]]\nmanifest='m'\nrepeat=0", "more than 0"),
        ("start = ", "not valid TOML"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, text, says):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=says):
        TrainConfig.load(path)

"""Clips hold all speech, once, in order, sample by sample, however the blocks come."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.audio import (
    WINDOW,
    ClipCutter,
    CutOptions,
    cut,
    find_speech,
    load_audio,
    open_audio,
)
from ark_asr.errors import AudioError, OptionError
from ark_asr.types import Audio

RATE = 16_000


class Signs:
    """A detector of made-up sound: positive samples are speech.

    The magnitude of each sample is its index plus one, so every clip shows where it was cut from.
    """

    def reset(self):
        self.rest = np.empty(0, np.float32)

    def feed(self, samples):
        joined = np.concatenate([self.rest, samples])
        count = len(joined) // WINDOW
        self.rest = joined[count * WINDOW :]
        return (joined[: count * WINDOW : WINDOW] > 0).astype(np.float32)


def recording(stretches: list[tuple[bool, int]], tail: int, start: float = 0.0) -> Audio:
    """Stretches of (is it speech, windows) and some samples more."""
    signs = [np.full(windows * WINDOW, 1.0 if speech else -1.0) for speech, windows in stretches]
    signs = np.concatenate([*signs, np.full(tail, -1.0)])
    return Audio((signs * np.arange(1, len(signs) + 1)).astype(np.float32), RATE, start)


def in_blocks(audio: Audio, sizes: list[int]) -> list[Audio]:
    blocks, at, turn = [], 0, 0
    while at < len(audio.samples):
        size = sizes[turn % len(sizes)] if sizes else len(audio.samples)
        blocks.append(Audio(audio.samples[at : at + size], RATE, audio.start + at / RATE))
        at, turn = at + size, turn + 1
    return blocks


def span(clip: Audio, audio: Audio) -> tuple[int, int]:
    """First and last sample of a clip, read from its samples; its start must agree."""
    first = int(abs(clip.samples[0])) - 1
    last = first + len(clip.samples)
    np.testing.assert_array_equal(clip.samples, audio.samples[first:last])
    assert clip.start == pytest.approx(audio.start + first / RATE, abs=1e-9)
    return first, last


stretches = st.lists(st.tuples(st.booleans(), st.integers(1, 90)), max_size=10)
sizes = st.lists(st.integers(1, 30_000), min_size=1, max_size=5).filter(lambda s: max(s) > 200)


@given(stretches, st.integers(0, 511), sizes, st.sampled_from([1.0, 1.7, 3.0, 6.0]),
       st.sampled_from([0.0, 12.34]),
       st.sampled_from([(0.2, 1.0), (0.0, 0.0), (0.5, 2.0)]),
       st.sampled_from([None, 0.0, 0.1, 0.5]))  # fmt: skip
@settings(max_examples=120)
def test_clips_of_any_recording(stretches, tail, sizes, longest, start, pauses, lead):
    audio = recording(stretches, tail, start)
    options = CutOptions(pad=pauses[0], join_pause=pauses[1], lead=lead)
    clips = list(cut(in_blocks(audio, sizes), longest, options=options, detector=Signs()))
    spans = [span(clip, audio) for clip in clips]
    assert all(0 < last - first <= longest * RATE for first, last in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    kept = np.zeros(len(audio.samples), bool)
    for first, last in spans:
        kept[first:last] = True
    regions = find_speech([audio] if len(audio.samples) else [], options=options, detector=Signs())
    for region in regions:
        first, last = (round((second - start) * RATE) for second in (region.start, region.end))
        assert kept[first:last].all()
    if not any(speech for speech, _ in stretches):
        assert clips == []
    # Silence is kept only as padding and in pauses that are worth joining.
    silent = np.flatnonzero(kept & (audio.samples < 0))
    if len(silent):
        speech = np.flatnonzero(audio.samples > 0)
        place = np.searchsorted(speech, silent)
        before = silent - speech[np.maximum(place - 1, 0)]
        after = speech[np.minimum(place, len(speech) - 1)] - silent
        nearest = np.where(
            place == 0, after, np.where(place == len(speech), before, np.minimum(before, after))
        )
        most = max(pauses[0], lead or 0.0, pauses[1] / 2 + 0.1)
        assert nearest.max() <= most * RATE + 2 * WINDOW


def test_sound_before_speech_is_kept_as_far_as_the_clip_before_leaves_room():
    audio = recording([(False, 40), (True, 20), (False, 10), (True, 20)], 0)
    options = CutOptions(pad=0.1, join_pause=0.2, lead=0.5)
    spans = [span(clip, audio) for clip in cut([audio], 3.0, options=options, detector=Signs())]
    ends = 60 * WINDOW + 1600
    assert spans == [(40 * WINDOW - 8000, ends), (ends, 90 * WINDOW)]
    with pytest.raises(OptionError, match=r"lead is .* at most half a clip"):
        ClipCutter(1.0, options=CutOptions(lead=0.6))


@given(stretches, st.integers(0, 511), sizes, st.booleans())
@settings(max_examples=60)
def test_block_sizes_do_not_matter(stretches, tail, sizes, vad):
    audio = recording(stretches, tail)
    whole = list(cut([audio], 2.0, vad=vad, detector=Signs()))
    parts = list(cut(in_blocks(audio, sizes), 2.0, vad=vad, detector=Signs()))
    assert [span(clip, audio) for clip in parts] == [span(clip, audio) for clip in whole]


@given(st.integers(0, 200_000), sizes, st.sampled_from([1.0, 2.5, 30.0]))
def test_without_vad_everything_is_kept(length, sizes, longest):
    audio = recording([], length)
    clips = list(cut(in_blocks(audio, sizes), longest, vad=False))
    spans = [span(clip, audio) for clip in clips]
    assert [first for first, _ in spans] == [0, *(last for _, last in spans)][: len(spans)]
    assert sum(last - first for first, last in spans) == length
    assert all(last - first <= longest * RATE for first, last in spans)
    # What a cut leaves over is never a mere click.
    assert len(spans) < 2 or spans[-1][1] - spans[-1][0] >= 0.25 * RATE


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.3, 20 * RATE).astype(np.float32)
    samples[round(8.4 * RATE) : round(8.6 * RATE)] *= 0.05
    for vad in (True, False):
        always = Signs()
        always.feed = lambda block: np.ones(len(block) // WINDOW, np.float32)
        block = Audio(samples, RATE)
        clips = list(cut([block], 10.0, vad=vad, detector=always))
        assert clips[0].start == 0.0
        assert 8.4 <= clips[0].end <= 8.6
        assert clips[1].start == clips[0].end


def test_a_cut_in_what_proves_to_be_a_pause_leaves_no_empty_clip():
    """A pause counts as speech until it has lasted ``min_pause``, and a full clip is cut before."""
    audio = recording([(True, 20), (False, 40), (True, 20)], 0)
    options = CutOptions(pad=0.0, join_pause=0.1, min_pause=0.5, search=0.0)
    cutter, clips = ClipCutter(1.0, options=options, detector=Signs()), []
    for block in in_blocks(audio, [WINDOW]):
        clips += cutter.feed(block)
        assert cutter.growing is None or len(cutter.growing.samples)
    first, second = (span(clip, audio) for clip in [*clips, *cutter.finish()])
    assert first[0] == 0
    assert 20 * WINDOW < first[1] <= RATE
    assert second == (60 * WINDOW, 80 * WINDOW)


def test_a_clip_that_is_full_ends_in_its_longest_late_pause():
    # 9 s of speech with a pause of 0.5 s at 6.4 s and one of 0.13 s at 8 s
    audio = recording([(True, 200), (False, 16), (True, 36), (False, 4), (True, 80)], 0)
    clips = list(cut([audio], 9.0, detector=Signs()))
    assert [span(clip, audio) for clip in clips] == [
        (0, 200 * WINDOW + 3200),
        (216 * WINDOW - 3200, len(audio.samples)),
    ]


def test_long_pauses_are_left_out_and_short_ones_joined():
    audio = recording(
        [(False, 50), (True, 30), (False, 20), (True, 30), (False, 90), (True, 30)], 9
    )
    clips = list(cut([audio], 30.0, detector=Signs()))
    assert [span(clip, audio) for clip in clips] == [
        (50 * WINDOW - 3200, 130 * WINDOW + 3200),
        (220 * WINDOW - 3200, len(audio.samples)),
    ]


def test_a_noise_that_stands_alone_is_no_clip():
    audio = recording([(False, 50), (True, 5), (False, 90)], 0)
    assert list(cut([audio], 30.0, detector=Signs())) == []


def test_clips_come_as_soon_as_they_are_complete():
    cutter = ClipCutter(30.0, detector=Signs())
    audio = recording([(True, 40), (False, 31)], 0)
    assert cutter.feed(audio) == []
    more = Audio(np.full(WINDOW, -1.0, np.float32), RATE, audio.end)
    assert len(cutter.feed(more)) == 1
    assert cutter.finish() == []


def test_memory_is_bounded():
    """Hours of silence, and of speech, leave no more behind than one clip."""
    for value in (-1.0, 1.0):
        cutter, at = ClipCutter(10.0, detector=Signs()), 0.0
        for _ in range(300):
            cutter.feed(Audio(np.full(RATE, value, np.float32), RATE, at))
            at += 1.0
        held = sum(len(piece) for piece in cutter._tape._pieces)
        assert held <= 22 * RATE
        assert len(cutter._probabilities) <= 22 * RATE // WINDOW


def test_other_rates_can_be_cut_without_vad_only():
    audio = Audio(np.zeros(24_000 * 5, np.float32), 24_000)
    clips = list(cut([audio], 2.0, vad=False))
    assert sum(len(clip.samples) for clip in clips) == 24_000 * 5
    assert all(clip.sample_rate == 24_000 and clip.duration <= 2.0 for clip in clips)
    with pytest.raises(AudioError, match="expected 16000 Hz"):
        list(cut([audio], 2.0))


@pytest.mark.parametrize("longest", [0.0, 0.5, -1.0, float("nan"), float("inf")])
def test_clips_must_have_a_length(longest):
    with pytest.raises(OptionError, match="at least 1 s"):
        list(cut([], longest))


def test_a_real_chapter(speech):
    """Part of a reading: every clip fits, and nearly all of it is in some clip."""
    path = speech / "eval" / "audio" / "long" / "librispeech_8226-274369.m4a"
    with open_audio(path, end=100.0) as stream:
        clips = list(cut(stream, 30.0))
    assert all(clip.duration <= 30.0 for clip in clips)
    assert 75 < sum(clip.duration for clip in clips) < 100
    with open_audio(path, begin=clips[2].start, end=clips[2].end) as stream:
        again = np.concatenate([block.samples for block in stream])
    # AAC's noise substitution is random, and its state differs after a seek.
    assert np.corrcoef(again, clips[2].samples)[0, 1] > 0.99


def test_wherever_it_begins_a_cut_loses_and_doubles_no_word(speech):
    """Words whose places are known, and clips from every half second on around the cuts."""
    words, places = [], []
    manifest = (speech / "digits" / "manifest.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in manifest.splitlines()]
    spoken = [row["audio"] for row in rows if row["source"] == "FSDD"][:400:10]
    rng = np.random.default_rng(0)
    for name in spoken:
        word = load_audio(speech / "digits" / name).samples
        loud = np.flatnonzero(np.abs(word) > 0.1 * np.abs(word).max())
        at = sum(map(len, words))
        places.append((at + loud[0], at + loud[-1]))
        words += [word, np.zeros(rng.integers(3_000, 12_000), np.float32)]
    sound = np.concatenate(words)
    for begin in range(0, 8 * RATE, RATE // 2):
        recording = Audio(sound[begin:], RATE, begin / RATE)
        clips = list(cut([recording], 7.0))
        held = [(round(clip.start * RATE), round(clip.end * RATE)) for clip in clips]
        for clip, (first, last) in zip(clips, held, strict=True):
            np.testing.assert_array_equal(clip.samples, sound[first:last])
        assert all(before[1] <= after[0] for before, after in pairwise(held))
        heard = [
            sum(first <= start and end <= last for first, last in held)
            for start, end in places
            if start >= begin
        ]
        assert set(heard) == {1}, begin / RATE

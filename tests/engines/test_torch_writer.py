"""The search that stays on the device finds what the search of the host finds."""

from __future__ import annotations

import numpy as np
import pytest

import ark_asr
from ark_asr.audio import load_audio
from ark_asr.engines.base import Ask, Writer
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.errors import ModelError, ModelFormatError, OptionError
from ark_asr.types import Audio, TranscribeOptions

RATE = 16_000


@pytest.fixture(scope="module")
def checkpoint(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="module")
def writer(checkpoint):
    writer = TorchWriter.load(checkpoint, "cpu", threads=1)
    assert isinstance(writer, Writer)
    yield writer
    writer.close()


@pytest.fixture(scope="module")
def asks(root):
    """Clips of several lengths."""
    minute = load_audio(root / "samples" / "minute.flac").samples
    return [Ask(Audio(minute[: round(s * RATE)], RATE), 120) for s in (2.1, 9.7, 5.0)]


def never():
    return False


def told(transcript):
    return [
        (one.start, one.end, one.text, one.flags, round(one.confidence or 0, 4))
        for one in transcript.segments
    ]


@pytest.mark.parametrize(
    "options",
    [TranscribeOptions(), TranscribeOptions(end=20, context=8, mend=False),
     TranscribeOptions(end=12, max_new_tokens=5)],
)  # fmt: skip
def test_same_transcript_as_on_the_host(checkpoint, root, options):
    minute = root / "samples" / "minute.flac"
    with (
        ark_asr.load(checkpoint, engine="torch:cpu", threads=1) as there,
        ark_asr.load(checkpoint, engine="torch", threads=1) as here,
    ):
        assert told(there.transcribe(minute, options)) == told(here.transcribe(minute, options))


def test_neighbours_change_nothing(writer, asks):
    together = writer.write(asks, [never] * 3)
    alone = [one for ask in asks for one in writer.write([ask], [never])]
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        assert one.stop == other.stop == "end"


def test_each_clip_has_its_own_limit(writer, asks):
    whole = writer.write(asks, [never] * 3)
    short = [Ask(ask.audio, n) for ask, n in zip(asks, (3, 500, 1), strict=True)]
    few = writer.write(short, [never] * 3)
    assert [len(one.token_ids) for one in few] == [3, len(whole[1].token_ids), 1]
    assert [one.stop for one in few] == ["length", "end", "length"]


def test_a_long_clip_has_all_the_room_that_is_left(writer, asks):
    many = Ask(asks[1].audio, 10_000)
    left = writer.max_positions - writer.positions(many)
    assert writer.limit(many) == left > 150


def test_who_leaves_keeps_what_there_is_and_disturbs_nobody(writer, asks):
    whole = writer.write(asks, [never] * 3)
    count = iter(range(100))
    found = writer.write(asks, [never, lambda: next(count) >= 4, never])
    assert found[1].stop == "cancelled"
    assert found[1].token_ids == whole[1].token_ids[:4]
    assert [found[i].token_ids for i in (0, 2)] == [whole[i].token_ids for i in (0, 2)]
    assert writer.write(asks, [lambda: True] * 3)[0].stop == "cancelled"
    assert writer.write([], []) == []


def test_numbers_that_are_not_finite_are_no_text(checkpoint, asks):
    # As on the host: the first id of all with a probability of NaN was taken for an answer.
    writer = TorchWriter.load(checkpoint, "cpu", threads=1)
    writer.model.model.norm.weight.data.fill_(np.nan)
    with pytest.raises(ModelError, match="not finite; try a higher precision"):
        writer.write(asks[:1], [never])
    writer.close()


def test_what_is_not_there_is_one_line(checkpoint):
    with pytest.raises(OptionError, match=r"device 'nothing': PyTorch has none here \("):
        ark_asr.load(checkpoint, engine="torch:nothing")
    with pytest.raises(ModelFormatError, match="PyTorch runs checkpoints"):
        ark_asr.load(engine="torch:cpu")
    with pytest.raises(OptionError, match="threads is 0"):
        ark_asr.load(checkpoint, engine="torch:cpu", threads=0)

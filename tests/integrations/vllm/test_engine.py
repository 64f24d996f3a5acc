"""vLLM on our own road: the words, times and flags are those of the PyTorch engine."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

from openai import OpenAI

from ark_asr.engines.torch import TorchEngine
from ark_asr.engines.vllm import VllmEngine
from ark_asr.engines.vllm_server import VllmServer
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Recognizer
from ark_asr.types import TranscribeOptions
from serving import serving


@pytest.fixture(scope="module")
def expected(checkpoint):
    return Recognizer(TorchEngine.load(checkpoint, threads=1), Tokenizer.load(checkpoint), "mini")


@pytest.fixture(scope="module")
def minute(root):
    return root / "samples" / "minute.flac"


def told(transcript):
    return [
        (one.start, one.end, one.text, one.flags, round(one.confidence or 0, 3))
        for one in transcript.segments
    ]


def test_by_url(server, checkpoint, expected, minute):
    engine = VllmServer.open(server.url, checkpoint)
    with Recognizer(engine, engine.tokenizer, "mini") as recognizer:
        assert told(recognizer.transcribe(minute)) == told(expected.transcribe(minute))


def test_our_server_before_vllms(server, checkpoint, expected, minute):
    """Segments with times, which vLLM's own route refuses, and the text of the whole."""
    with serving(models=(str(checkpoint),), engine=server.url, threads=None) as ours:
        client = OpenAI(base_url=f"{ours.url}/v1", api_key="none", max_retries=0)
        name = client.models.list().data[0].id
        answer = client.audio.transcriptions.create(
            model=name, file=minute, response_format="verbose_json"
        )
    segments = expected.transcribe(minute).segments
    assert [one.text for one in answer.segments] == [one.text for one in segments]
    assert [one.start for one in answer.segments] == pytest.approx([s.start for s in segments])


def test_in_this_process(checkpoint, expected, minute, monkeypatch):
    for name, value in (
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ("OMP_NUM_THREADS", "1"),
    ):
        monkeypatch.setenv(name, value)
    engine = VllmEngine.load(checkpoint)
    with Recognizer(engine, engine.tokenizer, "mini") as recognizer:
        for options in (TranscribeOptions(), TranscribeOptions(end=20, context=8, mend=False)):
            found = recognizer.transcribe(minute, options)
            assert told(found) == told(expected.transcribe(minute, options))
        assert not recognizer.transcribe(minute, cancelled=lambda: True).segments

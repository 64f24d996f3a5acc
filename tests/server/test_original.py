"""The routes of the models' first service, as its curl lines and its page use them."""

from __future__ import annotations

import json
import shutil
import subprocess

import av
import numpy as np
import pytest

from ark_asr.audio import load_audio
from serving import http, serving


def curl(*arguments, cwd=None):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "120", *map(str, arguments)],
        capture_output=True, text=True, check=True, cwd=cwd,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_health(served):
    assert curl(f"{served.url}/health") == {"status": "ok"}


def test_asr_by_curl(served, hello, recognizer):
    found = curl("-F", f"file=@{hello}", f"{served.url}/asr")
    assert set(found) == {"text", "latency_s", "prompt_tokens", "sampling"}
    assert found["text"] == recognizer.transcribe(hello).text
    assert found["latency_s"] > 0
    assert found["prompt_tokens"] == len(recognizer.tokenizer.prompt(1))
    assert found["sampling"] == {
        "max_new_tokens": 256, "temperature": 0.0, "top_p": 1.0, "top_k": -1,
        "repetition_penalty": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("/asr", ["max_new_tokens=64"]),
        ("/v1/audio/transcriptions", ["model=ark-asr"]),
    ],
)
def test_lines_of_its_guide(served, hello, recognizer, tmp_path, route, fields):
    """As they are written there: its name is no model's here, and its file lies in a folder."""
    (tmp_path / "assets").mkdir()
    shutil.copy(hello, tmp_path / "assets" / "libai.wav")
    sent = [part for field in ["file=@assets/libai.wav", *fields] for part in ("-F", field)]
    found = curl("-X", "POST", f"{served.url}{route}", *sent, cwd=tmp_path)
    assert found["text"] == recognizer.transcribe(hello).text


@pytest.fixture(scope="module")
def recorded(hello, tmp_path_factory):
    """What a browser's recorder makes of somebody speaking."""
    path = tmp_path_factory.mktemp("microphone") / "microphone.webm"
    sound = load_audio(hello, sample_rate=48_000).samples
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], "flt", "mono")
        frame.sample_rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("/asr", {"begin_time": "-1", "end_time": "-1", "max_new_tokens": "256"}),
        ("/v1/audio/transcriptions", {"model": "ark-asr", "max_new_tokens": "256"}),
    ],
)
def test_requests_of_its_page(served, recorded, recognizer, route, fields):
    """A recording of the microphone, with every field; of its samplings the deterministic one."""
    neutral = {"temperature": "0", "top_p": "1", "top_k": "-1", "repetition_penalty": "1"}
    files = {"file": ("microphone.webm", recorded.read_bytes(), "audio/webm;codecs=opus")}
    answer = http.post(f"{served.url}{route}", data={**fields, **neutral}, files=files)
    assert answer.status_code == 200
    assert answer.json()["text"] == recognizer.transcribe(recorded).text != ""


def test_asr_of_a_part(served, talk):
    fields = ["-F", f"file=@{talk}"]
    whole = curl(*fields, f"{served.url}/asr")["text"]
    part = curl(*fields, "-F", "begin_time=0", "-F", "end_time=5", f"{served.url}/asr")["text"]
    assert part
    assert len(part) < len(whole)


def test_few_tokens_are_few_words(served, hello):
    found = curl("-F", f"file=@{hello}", "-F", "max_new_tokens=3", f"{served.url}/asr")
    assert found["sampling"]["max_new_tokens"] == 3
    whole = curl("-F", f"file=@{hello}", f"{served.url}/asr")["text"]
    assert len(found["text"]) < len(whole)


def test_a_server_may_have_another_limit_of_tokens(hello):
    with serving(max_new_tokens=3) as few:
        asr = curl("-F", f"file=@{hello}", f"{few.url}/asr")
        assert asr["sampling"]["max_new_tokens"] == 3
        openai = curl("-F", f"file=@{hello}", f"{few.url}/v1/audio/transcriptions")
        assert openai["text"] == asr["text"]


@pytest.mark.parametrize(
    ("field", "detail"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be positive, got -1"),
        ({"temperature": 2.5}, "temperature must be between 0.0 and 2.0, got 2.5"),
        ({"top_p": 1.5}, "top_p must be between 0.0 and 1.0, got 1.5"),
        ({"repetition_penalty": 0}, "repetition_penalty must be between 0.1 and 2.0, got 0.0"),
        ({"top_k": -2}, "top_k must be -1 or a positive integer, got -2"),
        ({"temperature": 0.2}, "temperature can only be 0.0 here"),
        ({"begin_time": "nan"}, "begin_time must be a number of seconds, got nan"),
        ({"begin_time": "1e300"}, "a.flac: begin (1e+300 s) is beyond the end"),
    ],
)
def test_complaints(served, hello, field, detail):
    files = {"file": ("a.flac", hello.read_bytes())}
    answer = http.post(f"{served.url}/asr", data=field, files=files)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail)


def test_fields_of_the_wrong_type(served):
    answer = http.post(f"{served.url}/asr", data={"top_k": "many"}, files={"other": (None, "x")})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["detail"]] == [
        ["body", "file"], ["body", "top_k"],
    ]  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"data": {"top_k": "1"}}, {"json": {"file": "a.wav"}}])
def test_what_has_no_file_is_told_in_the_same_shape(served, body):
    answer = http.post(f"{served.url}/asr", **body)
    assert answer.status_code == 422
    (error,) = answer.json()["detail"]
    assert (error["loc"], error["type"]) == (["body", "file"], "missing")


def test_token_mask(served, recognizer):
    found = curl(f"{served.url}/token-mask")
    blocked = set(recognizer.tokenizer.suppressed_ids.tolist())
    assert found["blocked_count"] == len(blocked)
    assert found["allowed_count"] == recognizer.tokenizer.config.decoder.vocab_size - len(blocked)
    assert found["eos_token_ids"] == sorted(recognizer.tokenizer.stop_ids)
    assert set(found["tokens"]) == {
        "<|user|>", "<|assistant|>", "<|im_end|>", "<|audio|>", "<|begin_of_audio|>",
        "<|end_of_audio|>",
    }  # fmt: skip
    for token in found["tokens"].values():
        assert token["blocked"] == (token["id"] in blocked) == (not token["allowed"])

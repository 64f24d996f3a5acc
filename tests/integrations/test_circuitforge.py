"""circuitforge-core: its protocol, its result, its two endpoints, and its factory where it is."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

import cf_facts
from ark_asr.audio import load_audio
from ark_asr.errors import ArkWarning, AudioError, ModelNotFoundError, OptionError
from ark_asr.integrations.circuitforge import ArkSTTBackend, STTResult, STTSegment, __main__
from ark_asr.integrations.circuitforge.app import MOST_BYTES, create_app
from ark_asr.integrations.circuitforge.backend import _confidence
from ark_asr.server.settings import Settings
from ark_asr.types import Segment


@pytest.fixture(scope="module")
def backend():
    return ArkSTTBackend("ark-mini", device="cpu", compute_type="default", threads=1)


@pytest.fixture(scope="module")
def hello(root):
    return root / "samples" / "hello.flac"


@pytest.fixture(scope="module")
def bare(hello):
    return cf_facts.pcm(load_audio(hello).samples)


def test_results_are_field_by_field_those_of_circuitforge():
    assert [field.name for field in dataclasses.fields(STTResult)] == cf_facts.CORE_RESULT
    assert [field.name for field in dataclasses.fields(STTSegment)] == cf_facts.CORE_SEGMENT
    made = STTResult("hello", 0.5, True)
    assert made.CONFIDENCE_DEFAULT_THRESHOLD == cf_facts.CORE_THRESHOLD
    assert (made.language, made.duration_s, made.segments, made.model) == (None, None, [], "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.text = "other"


def test_the_shape_of_the_protocol(backend):
    asked = inspect.signature(ArkSTTBackend.transcribe).parameters
    assert asked["audio"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert {name: p.default for name, p in asked.items() if p.kind is p.KEYWORD_ONLY} == {
        "language": None, "confidence_threshold": cf_facts.CORE_THRESHOLD,
    }  # fmt: skip
    assert (backend.model_name, backend.vram_mb) == ("ark-mini", 0)
    made = inspect.signature(ArkSTTBackend).parameters
    assert list(made)[:3] == ["model_path", "device", "compute_type"]
    assert {name: made[name].default for name in cf_facts.CORE_DEFAULTS} == cf_facts.CORE_DEFAULTS


def test_its_usual_device_is_warned_of_and_works(hello):
    with pytest.warns(ArkWarning, match="cuda, float16: not to be had"):
        made = ArkSTTBackend("ark-mini", threads=1)
    assert made.transcribe(hello.read_bytes()).text
    made.close()


def test_a_container_and_its_bare_samples_say_the_same(backend, hello, bare):
    container, samples = backend.transcribe(hello.read_bytes()), backend.transcribe(bare)
    assert container.text == samples.text
    assert len(container.text.split()) > 5
    assert container.duration_s == pytest.approx(samples.duration_s)
    assert container.model == "ark-mini"
    spans = [(one.start_s, one.end_s) for one in container.segments]
    assert all(0 <= start < end <= container.duration_s for start, end in spans)
    assert " ".join(one.text for one in container.segments) == container.text


@pytest.mark.parametrize(
    ("tag", "language"), [(None, "en"), ("", "en"), ("en-AU", "en"), ("pt-BR", None)]
)
def test_any_language_tag_is_taken_and_the_truth_is_told(backend, bare, tag, language):
    assert backend.transcribe(bare, language=tag).language == language


def test_the_threshold_marks_what_must_not_be_acted_on(backend, bare):
    found = backend.transcribe(bare, confidence_threshold=0.0)
    assert 0 < found.confidence < 1
    assert not found.below_threshold
    above = np.nextafter(found.confidence, 1)
    assert backend.transcribe(bare, confidence_threshold=above).below_threshold
    assert not backend.transcribe(bare, confidence_threshold=found.confidence).below_threshold


def test_silence_and_noise_are_never_sure(backend):
    for level in (0, 0.1):
        noise = np.random.default_rng(0).normal(0, level, 32_000)
        found = backend.transcribe(cf_facts.pcm(noise))
        assert found.below_threshold, found
    silence = backend.transcribe(bytes(64_000))
    assert (silence.text, silence.confidence, silence.segments) == ("", 0.0, [])


def segment(text, confidence, *flags):
    return Segment(0, 1, text, text, confidence, 3, flags=flags)


@pytest.mark.parametrize(
    ("segments", "wanted"),
    [
        ([], 0.0),
        ([segment("press one", 0.9)], 0.9),
        ([segment("a b c", 0.9), segment("d", 0.5)], 0.8),  # each word counts the same
        ([segment("press one one one", 0.99, "loop")], 0.0),
        ([segment("press one", 0.9, "mended:loop", "retry:padded")], 0.9),
        ([segment("a", 0.9), segment("", None, "empty")], 0.45),  # speech that was not understood
        ([segment("a", 1.0 + 1e-9)], 1.0),
        ([segment("请按一", 0.9), segment("对", 0.5)], 0.8),  # characters where there are no spaces
    ],
)
def test_confidence_is_honest(segments, wanted):
    assert _confidence(segments) == pytest.approx(wanted)


def test_callers_at_once_get_what_each_would_get_alone(backend, root):
    clips = [
        cf_facts.pcm(load_audio(root / "samples" / f"{name}.flac", end=4.0).samples)
        for name in ("hello", "numbers", "minute")
    ]
    alone = [backend.transcribe(clip) for clip in clips]
    found = {}

    def ask(number):
        found[number] = backend.transcribe(clips[number % 3])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(6)] == alone * 2


@pytest.mark.parametrize(
    ("audio", "match"),
    [
        (b"", "empty"), (b"abc", "even"), (b"RIFF1234WAVEjunk", "bytes:"), (None, "not NoneType"),
        (np.zeros(16_000, np.float32), "not ndarray"),
    ],
)  # fmt: skip
def test_sound_that_is_none_is_refused_without_a_path_or_a_word(backend, audio, match):
    with pytest.raises(AudioError, match=match) as caught:
        backend.transcribe(audio)
    assert "/" not in str(caught.value)


def test_what_makes_no_sense_is_refused(backend, bare):
    with pytest.raises(OptionError, match="confidence_threshold"):
        backend.transcribe(bare, confidence_threshold=75)
    with pytest.raises(ModelNotFoundError, match="ark-mini"):
        ArkSTTBackend("medium")
    with pytest.raises(OptionError, match="device"):
        ArkSTTBackend("ark-mini", device="tpu")


@pytest.fixture(scope="module")
def client(backend):
    with TestClient(create_app(backend, Settings()), "http://127.0.0.1:8004") as client:
        yield client


def test_health(client):
    answer = client.get("/health")
    assert {key: type(value) for key, value in answer.json().items()} == cf_facts.CORE_HEALTH
    assert answer.json() == {"status": "ok", "model": "ark-mini", "vram_mb": 0}


def test_transcribe(client, backend, hello):
    answer = client.post(
        "/transcribe", files={"audio": ("a.flac", hello.read_bytes())}, data={"language": "en"}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == cf_facts.CORE_TRANSCRIBE
    assert [list(one) for one in body["segments"]] == [cf_facts.CORE_SEGMENT]
    wanted = dataclasses.asdict(backend.transcribe(hello.read_bytes(), language="en"))
    assert body == {key: wanted[key] for key in cf_facts.CORE_TRANSCRIBE}


@pytest.mark.parametrize(("override", "below"), [("0", False), ("1.0", True)])
def test_the_override_of_the_threshold(client, bare, override, below):
    answer = client.post(
        "/transcribe", files={"audio": bare}, data={"confidence_threshold_override": override}
    )
    assert answer.json()["below_threshold"] is below


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({}, 422, "audio"),
        ({"data": {"language": "en"}}, 422, "audio"),
        ({"files": {"audio": ("a.wav", b"")}}, 400, "Empty audio file"),
        ({"files": {"audio": ("a.wav", b"abc")}}, 400, "even"),
        ({"files": {"sound": ("a.wav", b"abcd")}}, 400, "audio"),
        (
            {"files": {"audio": b"abcd"}, "data": {"confidence_threshold_override": "much"}},
            422, "confidence_threshold_override",
        ),
        ({"files": {"audio": bytes(MOST_BYTES)}}, 413, "larger"),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(client, request_, status, detail):
    answer = client.post("/transcribe", **request_)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_pages_of_others_stay_out(client):
    assert client.get("/health", headers={"Origin": "https://evil.example"}).status_code == 403


def test_health_answers_and_requests_are_bounded_while_one_is_decoded():
    began, free = threading.Semaphore(0), threading.Event()

    def transcribe(audio, **_):
        began.release()
        free.wait()
        return STTResult("late", 1.0, below_threshold=False)

    slow = SimpleNamespace(transcribe=transcribe, model_name="slow", vram_mb=0)
    statuses = []
    with TestClient(create_app(slow, Settings()), "http://127.0.0.1:8004") as client:

        def ask():
            statuses.append(client.post("/transcribe", files={"audio": b"12"}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(17)]
        try:
            for thread in threads:
                thread.start()
            assert began.acquire(timeout=60)
            assert client.get("/health").json()["model"] == "slow"
            while len(statuses) < 1:  # the one too many is answered at once
                free.wait(0.01)
            assert statuses == [503]
        finally:
            free.set()
            for thread in threads:
                thread.join()
    assert sorted(statuses) == [200] * 16 + [503]


def test_a_failure_of_our_own_is_told_in_the_same_shape_and_without_the_inside():
    def transcribe(audio, **_):
        raise RuntimeError("ann, lecture 3")

    broken = SimpleNamespace(transcribe=transcribe, model_name="broken", vram_mb=0)
    app = create_app(broken, Settings())
    with TestClient(app, "http://127.0.0.1:8004", raise_server_exceptions=False) as client:
        answer = client.post("/transcribe", files={"audio": b"12"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "the service failed; its log says why"}


def test_the_command_takes_what_cf_orch_passes_on(monkeypatch):
    seen = {}

    def serve(options, make):
        with pytest.warns(ArkWarning, match="cuda"):
            app = make(Settings())
        seen.update(vars(options), title=app.title)
        return 0

    monkeypatch.setattr(__main__.service, "serve", serve)
    assert __main__.main(cf_facts.CORE_OPTIONS) == 0
    assert (seen["port"], seen["confidence_threshold"], seen["title"]) == (9, 0.75, "cf-stt")
    assert __main__.PORT == cf_facts.CORE_PORT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "medium"], "no model 'medium'"),
        (["--host", "0.0.0.0"], "--open-to-all"),
        (["--confidence-threshold", "75"], "confidence_threshold is 75; it must be 0 to 1"),
        (["--confidence-threshold", "nan"], "confidence_threshold is nan"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(options, said, capsys):
    assert __main__.main(["--device", "cpu", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_against_circuitforge_core_itself(backend, bare, root, monkeypatch):
    reason = "circuitforge-core is not installed"
    theirs = pytest.importorskip("circuitforge_core.stt.backends.base", reason=reason)
    assert isinstance(backend, theirs.STTBackend)
    assert type(backend.transcribe(bare)) is theirs.STTResult
    page = (root / "docs" / "integrations.md").read_text(encoding="utf-8")
    patch = "".join(re.findall(r"^\+(?!\+)(.*\n)", page, re.MULTILINE))
    assert patch.count("\n") == 3
    source = inspect.getsource(theirs)
    place = '    if resolved == "faster-whisper":\n'
    assert place in source
    patched = type(sys)("patched")
    monkeypatch.setitem(sys.modules, "patched", patched)
    exec(source.replace(place, patch + place), vars(patched))
    with pytest.warns(ArkWarning, match="cuda"):
        made = patched.make_stt_backend("ark-mini", backend="ark-asr")
    assert made.transcribe(bare).text == backend.transcribe(bare).text

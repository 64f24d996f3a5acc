"""cf-voice's backend: the shape of its WhisperSTT, and what real speech in windows becomes."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cf_facts
from ark_asr.audio import load_audio
from ark_asr.errors import ArkWarning, AudioError, ModelNotFoundError, OptionError
from ark_asr.integrations import sessions
from ark_asr.integrations.cf_voice import ARKASRBackend, STTResult
from ark_asr.integrations.speakers import SessionSpeakers
from ark_asr.models.catalogue import find
from ark_asr.pipeline.speakers import SpeakerTurn

RATE = 16_000


@pytest.fixture(autouse=True)
def _load_decides_nothing(monkeypatch):
    """However busy the machine of the test is: looks are taken."""
    monkeypatch.setattr(sessions, "OPTIONS", replace(sessions.OPTIONS, max_lag=1e6))


@pytest.fixture(scope="module")
def talk(root):
    """Two sentences with a pause between them."""
    sound = load_audio(root / "samples" / "minute.flac", end=5.0).samples
    return np.concatenate([sound, np.zeros(RATE, np.float32)])


@pytest.fixture(scope="module")
def backend():
    return ARKASRBackend(threads=1)


def hear(backend, sound, seconds=1.0, **options):
    """All results of a session, its end included."""

    async def session():
        results = [
            await backend.transcribe_chunk_async(window, **options)
            for window in cf_facts.windows(sound, seconds)
        ]
        name = options.get("session_id", "")
        return [*results, await backend.finish_async(name)]

    return asyncio.run(session())


def finals(results):
    return " ".join(result.text for result in results if result.is_final and result.text)


def test_results_have_the_fields_of_cf_voice():
    fields = dataclasses.fields(STTResult)
    assert [field.name for field in fields[:4]] == list(cf_facts.CF_VOICE_RESULT)
    assert all(field.default is not dataclasses.MISSING for field in fields[4:])


def test_the_backend_has_the_shape_of_whisper_stt():
    made = list(inspect.signature(ARKASRBackend).parameters)
    assert made[:3] == ["model_name", "device", "compute_type"]
    assert inspect.iscoroutinefunction(ARKASRBackend.transcribe_chunk_async)
    chunk = inspect.signature(ARKASRBackend.transcribe_chunk_async).parameters
    required = [p.name for p in chunk.values() if p.default is inspect.Parameter.empty]
    assert required == ["self", "pcm_int16"]
    assert inspect.signature(ARKASRBackend.from_env).parameters["environment"].default is not None


def test_importing_it_needs_numpy_only():
    code = "import sys, ark_asr.integrations.cf_voice; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Systems and environments have modules of their own at every start of Python.
    known = {*sys.stdlib_module_names, "sitecustomize", "usercustomize", "cython_runtime"}
    outside = {name.split(".")[0] for name in done.stdout.split()} - known
    assert {name for name in outside if not name.startswith("_")} <= {"ark_asr", "numpy"}


def test_the_audit_is_that_of_the_catalogue_and_the_security_page(root):
    text = inspect.getdoc(ARKASRBackend)
    assert find("ark-asr-0.6b").revision in text
    pins = dict(re.findall(r"``(\w+\.py)``\s+``([0-9a-f]{64})``", text))
    page = (root / "docs" / "security.md").read_text(encoding="utf-8")
    assert pins == dict(re.findall(r"^\| `(\w+\.py)` \| `([0-9a-f]{64})`", page, re.MULTILINE))
    assert len(pins) == 4


@pytest.mark.parametrize("seconds", cf_facts.WINDOWS)
def test_windows_are_heard_as_one_stream(backend, talk, seconds):
    results = hear(backend, talk, seconds)
    for result in results:
        for name, kind in cf_facts.CF_VOICE_RESULT.items():
            assert type(getattr(result, name)) is kind
    assert sum(result.duration_s for result in results) == pytest.approx(len(talk) / RATE)
    # However the sound is cut, the finished words are the same.
    assert finals(results) == finals(hear(backend, talk, 1.2))
    assert len(finals(results).split()) > 6
    assert [result.confidence > 0 for result in results] == [bool(r.text) for r in results]


def test_captions_grow_and_then_stay(backend, talk):
    results = [result for result in hear(backend, talk, 0.5) if result.text]
    interim = [result for result in results if not result.is_final]
    assert interim
    assert all(result.words == () for result in interim)
    for result in results:
        assert not result.is_final or [word.text for word in result.words] == result.text.split()
    ends = [word.end for result in results for word in result.words]
    assert ends == sorted(ends)
    assert ends[-1] < len(talk) / RATE


def test_without_interim_results_texts_can_be_appended(backend, talk):
    quiet = ARKASRBackend(threads=1, interim=False)
    results = hear(quiet, talk)
    assert all(result.is_final for result in results)
    assert finals(results) == finals(hear(backend, talk))


def test_silence_says_nothing(backend):
    results = hear(backend, np.zeros(3 * RATE, np.float32))
    assert [(r.text, r.is_final, r.confidence) for r in results] == [("", True, 0.0)] * 4


def test_sessions_are_kept_apart(backend, talk):
    async def both():
        results = []
        windows = cf_facts.windows(talk, 1.0)
        noise = cf_facts.windows(np.random.default_rng(0).normal(0, 0.1, len(talk)), 1.0)
        for one, other in zip(windows, noise, strict=True):
            result, _ = await asyncio.gather(
                backend.transcribe_chunk_async(one, session_id="a"),
                backend.transcribe_chunk_async(other, session_id="b"),
            )
            results.append(result)
        await backend.finish_async("b")
        return [*results, await backend.finish_async("a")]

    assert finals(asyncio.run(both())) == finals(hear(backend, talk))


@pytest.mark.parametrize(
    ("tag", "language"),
    [(None, "en"), ("", "en"), ("en-US", "en"), ("pt", "und"), ("no language at all", "und")],
)
def test_any_language_tag_is_taken_and_the_truth_is_told(backend, tag, language):
    (result, _) = hear(backend, np.zeros(RATE, np.float32), language=tag)
    assert result.language == language


def test_words_are_joined_to_the_turns_of_a_diarisation(backend, talk):
    words = [word for result in hear(backend, talk) for word in result.words]
    middle = words[len(words) // 2].start
    speakers = SessionSpeakers(
        [SpeakerTurn(0, middle, "SPEAKER_01"), SpeakerTurn(middle, 9, "SPEAKER_00")]
    )
    who = [speakers.speaker_at(word.start, word.end) for word in words]
    assert set(who) == {"Speaker A", "Speaker B"}
    assert who == sorted(who)


def test_half_a_sample_is_refused(backend):
    with pytest.raises(AudioError, match="even"):
        asyncio.run(backend.transcribe_chunk_async(b"abc"))


def test_the_environment_is_read(tmp_path):
    made = ARKASRBackend.from_env({"CF_VOICE_ARK_MODEL": "ark-mini", "CF_VOICE_ARK_THREADS": "1"})
    assert made.model_name == "ark-mini"
    # A size of Whisper's is no model of ours, and is not looked at.
    assert ARKASRBackend.from_env({"CF_VOICE_WHISPER_MODEL": "small"}).model_name == "ark-mini"


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"CF_VOICE_ARK_MODEL": "small"}, ModelNotFoundError),
        ({"CF_VOICE_ARK_THREADS": "0"}, OptionError),
        ({"CF_VOICE_ARK_THREADS": "many"}, OptionError),
        ({"CF_VOICE_ARK_INTERIM": "yes"}, OptionError),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(environment, error):
    with pytest.raises(error, match=next(iter(environment.values()))):
        ARKASRBackend.from_env(environment)


def test_a_gpu_is_answered_with_the_cpu_and_a_warning():
    with pytest.warns(ArkWarning, match="cuda"):
        made = ARKASRBackend(device="cuda", compute_type="float16")
    asyncio.run(made.aclose())


def test_a_closed_backend_holds_no_model(talk):
    async def life():
        made = ARKASRBackend(threads=1)
        await made.transcribe_chunk_async(cf_facts.pcm(talk[:RATE]))
        await made.aclose()
        with pytest.raises(OptionError, match="closed"):
            await made.transcribe_chunk_async(cf_facts.pcm(talk[:RATE]))

    asyncio.run(life())


def test_against_cf_voice_itself():
    stt = pytest.importorskip("cf_voice.stt", reason="cf-voice is not installed")
    theirs = {field.name for field in dataclasses.fields(stt.STTResult)}
    assert theirs <= {field.name for field in dataclasses.fields(STTResult)}
    public = [name for name in vars(stt.WhisperSTT) if not name.startswith("_")]
    assert {"from_env", "transcribe_chunk_async"} <= set(public)
    assert Path(stt.__file__).is_file()

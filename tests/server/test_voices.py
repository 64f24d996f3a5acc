"""Speakers told apart by the server: OpenAI's ``diarized_json``, its events, and long jobs."""

from __future__ import annotations

import openai
import pytest

import speaker_models
from ark_asr import ModelNotFoundError, TranscribeOptions
from ark_asr.models.speakers import SpeakerModels
from ark_asr.pipeline import Diarizer, Speakers
from ark_asr.server.app import create_app
from ark_asr.server.settings import Settings
from described import checked
from serving import http, serving

pytest.importorskip("sherpa_onnx", reason="the extra 'speakers' is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return speaker_models.write_models(tmp_path_factory.mktemp("speaker-models"))


@pytest.fixture(scope="module")
def telling(folder):
    with serving(speakers=str(folder)) as served:
        yield served


@pytest.fixture(scope="module")
def client(telling):
    with openai.OpenAI(base_url=f"{telling.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(folder, recognizer, talk):
    """What the library says of the same recording."""
    turns = Diarizer(SpeakerModels.find(folder), threads=1).turns(talk)
    transcript = recognizer.transcribe(talk, TranscribeOptions(words=True))
    return list(Speakers(turns).label(transcript.segments))


def ask(client, recording, **options):
    with recording.open("rb") as file:
        return client.audio.transcriptions.create(
            file=file, model="ark-mini", response_format="diarized_json", **options
        )


def parts(segments):
    return [(one.text, one.speaker) for one in segments]


def test_segments_have_the_speakers_that_the_library_finds(client, talk, expected):
    found = ask(client, talk)
    assert type(found).__name__ == "TranscriptionDiarized"
    assert parts(found.segments) == [
        (one.text, one.speaker.removeprefix("Speaker ")) for one in expected
    ]
    assert found.segments[0].speaker == "A"
    assert found.text == " ".join(one.text for one in found.segments)
    assert len({one.id for one in found.segments}) == len(found.segments)
    assert found.duration == pytest.approx(15.0, abs=0.01)
    assert found.usage.type == "tokens"


def test_events_tell_the_words_and_then_who_said_them(client, talk):
    *events, done = ask(client, talk, stream=True)
    deltas = [event for event in events if event.type == "transcript.text.delta"]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert events == deltas + segments
    assert "".join(event.delta for event in deltas) == done.text
    assert parts(segments) == parts(ask(client, talk).segments)


def test_a_long_job_tells_speakers_apart(telling, talk, expected):
    files = {"file": (talk.name, talk.read_bytes())}
    job = http.post(f"{telling.url}/jobs", files=files, data={"speakers": "true"}).json()
    url = f"{telling.url}/jobs/{job['id']}"
    assert "event: done" in http.get(f"{url}/events").text
    found = http.get(f"{url}/result").json()["segments"]
    assert [(one["text"], one["speaker"]) for one in found] == parts(expected)


def test_known_speakers_are_refused_by_name(client, talk):
    with pytest.raises(openai.BadRequestError, match="known_speaker_names"):
        ask(client, talk, extra_body={"known_speaker_names": ["ann"]})


def test_a_server_without_models_says_how_to_start_one(served, hello):
    files = {"file": (hello.name, hello.read_bytes())}
    url = f"{served.url}/v1/audio/transcriptions"
    answer = http.post(url, files=files, data={"response_format": "diarized_json"})
    assert answer.status_code == 400
    assert "ark-asr serve --speakers auto" in answer.json()["error"]["message"]


def test_models_that_are_not_there_are_told_when_it_starts():
    with pytest.raises(ModelNotFoundError, match="models pull"):
        create_app(Settings(speakers="auto"))


def test_answers_with_speakers_are_as_described(telling, talk):
    told = http.get(f"{telling.url}/openapi.json").json()
    path = "/v1/audio/transcriptions"
    answer = http.post(
        telling.url + path,
        files={"file": ("talk.wav", talk.read_bytes())},
        data={"response_format": "diarized_json"},
    )
    assert checked(told, "post", path, answer).json()["segments"]

"""OpenAI's interface, through the official client, unmodified."""

from __future__ import annotations

import html
import math
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from ark_asr import TranscribeOptions
from ark_asr.pipeline import Recognizer
from ark_asr.writers import get_writer
from serving import PATIENCE, http


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(recognizer, talk):
    """What the library says of the same recording."""
    return recognizer.transcribe(talk, TranscribeOptions(batch_size=8))


def ask(client, recording, **options):
    with recording.open("rb") as file:
        return client.audio.transcriptions.create(
            file=file, **{"model": "ark-mini", "language": openai.omit} | options
        )


def test_json_says_what_the_library_says_and_what_it_cost(client, talk, expected):
    found = ask(client, talk)
    assert found.text == expected.text
    assert found.usage.type == "tokens"
    assert found.usage.output_tokens == sum(segment.tokens for segment in expected.segments)
    details = found.usage.input_token_details
    # 12.5 embeddings per second of speech; every prompt asks with the same few words.
    spoken = sum(segment.end - segment.start for segment in expected.segments)
    assert abs(details.audio_tokens - 12.5 * spoken) <= len(expected.segments)
    assert details.text_tokens % len(expected.segments) == 0
    assert found.usage.input_tokens == details.audio_tokens + details.text_tokens


@pytest.mark.parametrize(("name", "writer"), [("text", "txt"), ("srt", "srt"), ("vtt", "vtt")])
def test_texts_and_subtitles_are_those_of_the_writers(client, talk, expected, name, writer):
    found = ask(client, talk, response_format=name)
    if name == "text":
        assert found == expected.text + "\n"
    else:
        assert found == get_writer(writer).render(expected)


def test_verbose_json_has_segments_with_real_numbers(client, talk, expected, recognizer):
    found = ask(client, talk, response_format="verbose_json")
    assert found.duration == pytest.approx(expected.duration, abs=0.001)
    assert (found.text, found.language) == (expected.text, "en")
    assert found.usage.seconds == math.ceil(expected.duration)
    assert found.words is None
    assert len(found.segments) == len(expected.segments)
    for got, segment in zip(found.segments, expected.segments, strict=True):
        assert (got.start, got.end) == (round(segment.start, 3), round(segment.end, 3))
        assert got.text == segment.text
        assert recognizer.tokenizer.decode(got.tokens) == segment.raw_text
        assert got.avg_logprob < 0
        assert got.no_speech_prob == 0.0  # typed clients fail on a null


def test_words_are_inside_their_segments_and_spell_them(client, hello):
    both = ask(
        client, hello, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    (segment,) = both.segments
    assert [word.word for word in both.words] == segment.text.split()
    assert all(segment.start <= word.start <= word.end <= segment.end for word in both.words)
    words = ask(client, hello, response_format="verbose_json", timestamp_granularities=["word"])
    assert words.segments is None
    assert words.words == both.words


def test_logprobs_are_those_of_the_tokens(client, hello):
    found = ask(client, hello, include=["logprobs"])
    assert "".join(entry.token for entry in found.logprobs).strip() == found.text
    assert all(bytes(map(int, e.bytes)).decode() == e.token for e in found.logprobs)
    assert all(entry.logprob <= 0 for entry in found.logprobs)
    verbose = ask(client, hello, response_format="verbose_json")
    mean = sum(entry.logprob for entry in found.logprobs) / len(verbose.segments[0].tokens)
    assert mean == pytest.approx(verbose.segments[0].avg_logprob, abs=1e-3)


def test_events_grow_the_text_and_end_with_all_of_it(client, talk, expected):
    events = list(ask(client, talk, stream=True, include=["logprobs"]))
    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert len(deltas) == len([s for s in expected.segments if s.text])
    assert "".join(event.delta for event in deltas) == done.text == expected.text
    assert done.type == "transcript.text.done"
    assert done.usage.total_tokens == ask(client, talk).usage.total_tokens
    assert len(done.logprobs) == sum(len(event.logprobs) for event in deltas)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["ark-mini", "whisper-1"]
    assert client.models.retrieve("whisper-1").object == "model"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'"):
        client.models.retrieve("gpt-4o")


def test_an_alias_and_the_only_language_are_accepted(client, hello):
    assert ask(client, hello, model="whisper-1", language="en").text == ask(client, hello).text


def test_keywords_are_hot_words(client, hello):
    word = ask(client, hello).text.split()[0]
    hot = ask(client, hello, include=["logprobs"], extra_body={"hotwords": f"{word}, kingfisher"})
    keywords = {"keywords": [word, "kingfisher"]}
    assert ask(client, hello, include=["logprobs"], extra_body=keywords) == hot


def test_what_is_already_so_can_be_asked_for(client, hello):
    usual = ask(client, hello).text
    assert ask(client, hello, temperature=0, chunking_strategy="auto").text == usual
    vad = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 200}
    assert ask(client, hello, chunking_strategy=vad).text == usual


def test_voice_activity_follows_the_numbers_of_the_request(client, talk, expected):
    vad = {"type": "server_vad", "silence_duration_ms": 5000}
    found = ask(client, talk, response_format="verbose_json", chunking_strategy=vad)
    assert len(found.segments) < len(expected.segments)


def vad(**numbers):
    return {"type": "server_vad", **numbers}


HUGE = '{"type": "server_vad", "threshold": 1' + "0" * 400 + "}"


@pytest.mark.parametrize(
    ("options", "param", "message"),
    [
        ({"language": "de"}, "language", "cannot be told"),
        ({"prompt": "names"}, "prompt", "hotwords"),
        ({"temperature": 0.7}, "temperature", "must be 0"),
        ({"response_format": "diarized_json"}, "response_format", "speakers"),
        ({"response_format": "docx"}, "response_format", "take one of"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "verbose_json"),
        ({"include": ["logprobs"], "response_format": "verbose_json"}, "include", "json"),
        ({"stream": True, "response_format": "srt"}, "stream", "srt"),
        ({"chunking_strategy": "[" * 60_000}, "chunking_strategy", "server_vad"),
        ({"chunking_strategy": HUGE}, "chunking_strategy", "threshold is 10+\\.\\.\\.; it must be"),
        (
            {"chunking_strategy": vad(threshold=True)},
            "chunking_strategy",
            "threshold is true; it must",
        ),
        (
            {"chunking_strategy": vad(silence_duration_ms=1e308)},
            "chunking_strategy",
            "silence_duration_ms is 1e\\+308; it must be a number from 0 to 3600000",
        ),
        (
            {"chunking_strategy": vad(prefix_padding_ms=6000)},
            "chunking_strategy",
            "prefix_padding_ms is 6000; it must be a number from 0 to 5000",
        ),
        ({"extra_body": {"hotwords": ":2"}}, "hotwords", "positive weight"),
        ({"extra_body": {"max_new_tokens": "1" + "0" * 400}}, "max_new_tokens", "no number"),
        ({"chunking_strategy": {"type": "clock"}}, "chunking_strategy", "server_vad"),
        ({"chunking_strategy": {"type": "server_vad", "x": 1}}, "chunking_strategy", "'x'"),
        ({"extra_body": {"best_of": 3}}, "best_of", "not known"),
        ({"extra_body": {"known_speaker_names": ["a"]}}, "known_speaker_names", "not known"),
        ({"extra_body": {"hotwords": "w"}, "model": "x"}, "model", "take one of: ark-mini"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(client, hello, options, param, message):
    with pytest.raises(openai.APIStatusError, match=message) as caught:
        ask(client, hello, **options)
    assert caught.value.status_code == (404 if param == "model" else 400)
    assert caught.value.param.removesuffix("[]") == param
    assert caught.value.type == "invalid_request_error"


def test_hot_words_that_take_their_time_let_others_in(served, hello, monkeypatch):
    asked, go_on, scribe = threading.Event(), threading.Event(), Recognizer.scribe

    def slow(recognizer, options):
        asked.set()
        assert go_on.wait(PATIENCE)
        return scribe(recognizer, options)

    monkeypatch.setattr(Recognizer, "scribe", slow)
    with ThreadPoolExecutor(1) as clients:
        url, files = (
            f"{served.url}/v1/audio/transcriptions",
            {"file": (hello.name, hello.read_bytes())},
        )
        answer = clients.submit(http.post, url, files=files, data={"hotwords": "kingfisher"})
        try:
            assert asked.wait(PATIENCE)
            assert http.get(f"{served.url}/health", timeout=5).status_code == 200
        finally:
            go_on.set()
        assert answer.result().status_code == 200


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/jobs"])
@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature[]": "0.7"}, "temperature[]", "write it temperature"),
        ({"model[0]": "x"}, "model[0]", "write it model"),
        ({"timestamp_granularities[0]": "word"}, "timestamp_granularities[0]", "granularities[],"),
        ({"chunking_strategy[type": "server_vad"}, "chunking_strategy[type", "not known"),
        ({"allow_damage": ["false", "true"]}, "allow_damage", "given twice"),
        (
            {"chunking_strategy": "auto", "chunking_strategy[type]": "server_vad"},
            "chunking_strategy",
            "given twice",
        ),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy": "auto"},
            "chunking_strategy",
            "given twice",
        ),
    ],
)
def test_no_field_is_passed_over_in_silence(served, hello, path, fields, param, message):
    files = {"file": ("a.flac", hello.read_bytes())}
    answer = http.post(served.url + path, files=files, data=fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ["", "ark-mini"]},
        {"timestamp_granularities": ["word", "segment"], "response_format": "verbose_json"},
        {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.5"},
    ],
)
def test_fields_as_forms_write_them(served, hello, fields):
    files = {"file": ("a.flac", hello.read_bytes())}
    answer = http.post(f"{served.url}/v1/audio/transcriptions", files=files, data=fields)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/jobs", "/asr"])
def test_a_name_where_a_file_should_be_is_told(served, path):
    """What curl sends if its @ is forgotten."""
    answer = http.post(served.url + path, files={"file": (None, "talk.mp3")})
    assert answer.status_code == (422 if path == "/asr" else 400)
    assert "curl: -F file=@talk.mp3" in answer.text


def test_numbers_of_voice_activity_go_together_in_any_way(client, hello):
    """The second are what OpenAI takes where nothing is said, and so what its users write."""
    usual = ask(client, hello).text
    openais = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
    for numbers in ({"silence_duration_ms": 250}, openais, {"prefix_padding_ms": 900}):
        assert ask(client, hello, chunking_strategy=vad(**numbers)).text == usual


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translations_are_refused(client, hello):
    with (
        hello.open("rb") as file,
        pytest.raises(openai.BadRequestError, match="translation is not done"),
    ):
        client.audio.translations.create(file=file, model="ark-mini")


def test_unknown_paths_have_errors_of_the_same_shape(served):
    error = http.get(f"{served.url}/v1/nothing").json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] == "nothing is served at /v1/nothing; see /docs"


def test_the_interface_is_described(served):
    described = http.get(f"{served.url}/openapi.json").json()
    jobs = {path for path in described["paths"] if path.startswith("/jobs")}
    assert jobs == {
        "/jobs",
        *(f"/jobs/{{name}}{it}" for it in ("", "/result", "/events", "/cancel")),
    }
    example = described["paths"]["/jobs"]["post"]["responses"]["202"]["content"]
    assert example["application/json"]["example"]["status"] == "queued"
    form = described["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    assert "response_format" in form["multipart/form-data"]["schema"]["properties"]


def test_the_interface_is_a_page_too_with_examples_and_nothing_from_elsewhere(served):
    page = http.get(f"{served.url}/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = html.unescape(page.text)
    for path, verbs in http.get(f"{served.url}/openapi.json").json()["paths"].items():
        assert all(f"{verb.upper()} {path}<" in text for verb in verbs)
    for part in ("timestamp_granularities[]", "one of segment, word", '"status": "queued"', "429"):
        assert part in text
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert http.get(f"{served.url}/{link}").status_code == 200, link

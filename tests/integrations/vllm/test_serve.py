"""Plain ``vllm serve FOLDER``: the words, the rules and the refusals of this package."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

from openai import BadRequestError, OpenAI

import ark_asr
from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.engines.torch import TorchEngine
from ark_asr.models.tokenizer import IM_END, Tokenizer
from ark_asr.types import Prompt, TranscribeOptions
from ports import free_port
from proxies import certified, proxied
from vllm_chat import INSTRUCTION, ask, recording, tokens


@pytest.fixture(scope="module")
def client(server):
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def engine(checkpoint):
    return TorchEngine.load(checkpoint, threads=1)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return Tokenizer.load(checkpoint)


@pytest.fixture(scope="module")
def reference(engine, tokenizer):
    """The tokens of our PyTorch engine, the stop id included."""
    log_mel = LogMel(tokenizer.features)
    rules = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]

    def decode(samples, limit=200):
        (audio,) = engine.embed_audio([log_mel(samples)])
        (found,) = greedy(
            engine, [Prompt(tokenizer.prompt(len(audio)), audio)],
            rules=rules, stop_ids=tokenizer.stop_ids, max_new_tokens=limit,
        )  # fmt: skip
        ended = [tokenizer.id_of(IM_END)] if found.stop == "end" else []
        return [*found.token_ids, *ended]

    return decode


@pytest.fixture(scope="module")
def utterances(speech):
    """A hundred clips of real speech, of many lengths."""
    lines = (speech / "commands_and_sentences" / "manifest.jsonl").read_text().splitlines()
    rows = [
        row for row in map(json.loads, lines) if row["duration"] < 15 and row["split"] != "train"
    ]
    chosen = rows[:: max(len(rows) // 100, 1)][:100]
    assert len(chosen) == 100
    folder = speech / "commands_and_sentences"
    return [load_audio(folder / row["audio"]).samples for row in chosen]


def test_official_client_gets_the_words_of_transcribe(client, checkpoint, root):
    with ark_asr.load(checkpoint, threads=1) as recognizer:
        for name in ("hello", "numbers"):
            file = root / "samples" / f"{name}.flac"
            answer = client.audio.transcriptions.create(model="ark-mini", file=file)
            expected = recognizer.transcribe(file, TranscribeOptions(vad=False, mend=False))
            assert answer.text == expected.text != ""


def test_no_code_of_the_folder_is_run(server):
    assert not (server.folder / "code-was-run").exists()


def test_prompt_is_that_of_training(server, tokenizer, hello):
    samples = load_audio(hello).samples
    slots = tokenizer.config.audio_slots(tokenizer.features.frames(len(samples)))
    for content in ([recording(samples), INSTRUCTION], [recording(samples)]):
        asked = ask(server.url, content, max_tokens=1).json()["prompt_token_ids"]
        assert asked == tokenizer.prompt(slots)


def test_sound_comes_as_url_too(server, reference, hello):
    samples = load_audio(hello).samples
    part = recording(samples)["input_audio"]["data"]
    url = {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{part}"}}
    assert tokens(ask(server.url, [url, INSTRUCTION])) == reference(samples)


def test_real_speech_alone_and_in_a_crowd(server, utterances, reference):
    """Neighbours of other lengths, the encoder's cache and continuous batching change no token."""
    expected = [reference(samples) for samples in utterances]

    def hear(samples):
        return tokens(ask(server.url, [recording(samples), INSTRUCTION], max_tokens=200))

    assert [hear(samples) for samples in utterances] == expected
    # Another gain by a hair, or vLLM would answer from what it has heard before.
    louder = [samples * np.float32(1.0001) for samples in utterances]
    expected = [reference(samples) for samples in louder]
    with ThreadPoolExecutor(16) as clients:
        assert list(clients.map(hear, louder)) == expected


def test_ids_that_are_no_text_cannot_be_chosen(server, tokenizer, hello):
    """Neither by chance nor when a request asks for them."""
    blocked = tokenizer.suppressed_ids.tolist()
    wish = {str(id_): 100 for id_ in blocked}
    content = [recording(load_audio(hello).samples), INSTRUCTION]
    for options in ({"logit_bias": wish}, {"temperature": 2.0, "seed": 1, "top_p": 1.0}):
        answer = ask(server.url, content, max_tokens=40, logprobs=True, top_logprobs=5, **options)
        assert not set(tokens(answer)) & set(blocked)


def test_only_the_end_token_ends(server, tokenizer, hello):
    answer = ask(server.url, [recording(load_audio(hello).samples), INSTRUCTION])
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert tokens(answer)[-1] == tokenizer.id_of(IM_END)


def test_a_request_has_its_own_sampling(server, hello):
    content = [recording(load_audio(hello).samples), INSTRUCTION]
    greedy_ids = tokens(ask(server.url, content))
    assert tokens(ask(server.url, content, max_tokens=3)) == greedy_ids[:3]
    drawn = [tokens(ask(server.url, content, temperature=2.0, seed=seed)) for seed in range(4)]
    assert any(ids != greedy_ids for ids in drawn)
    assert drawn[0] == tokens(ask(server.url, content, temperature=2.0, seed=0))


def test_deltas_join_to_the_text(client, root):
    file = root / "samples" / "numbers.flac"
    whole = client.audio.transcriptions.create(model="ark-mini", file=file).text
    stream = client.audio.transcriptions.create(model="ark-mini", file=file, stream=True)
    # vLLM's events are those of its chat route, not OpenAI's: they have choices.
    parts = [event.choices[0]["delta"].get("content") or "" for event in stream]
    assert "".join(parts) == whole


def test_behind_the_proxy_of_several_servers(server, client, root, hello, tmp_path):
    """Of two servers one is down, as it is in a rolling restart: nobody notices."""
    expected = client.audio.transcriptions.create(model="ark-mini", file=hello).text
    site = root / "deploy" / "replicas.conf"
    ports = {"8001": server.url.rpartition(":")[2], "8002": free_port()}
    form = {"data": {"model": "ark-mini"}, "files": {"file": (hello.name, hello.read_bytes())}}
    with proxied("nginx", site, tmp_path, certified(tmp_path), ports) as http:
        answers = [http.post("/v1/audio/transcriptions", **form) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert {answer.json()["text"] for answer in answers} == {expected}
        form["data"]["stream"] = "true"
        streamed = http.post("/v1/audio/transcriptions", **form)
    assert streamed.text.count("data: ") > 2
    assert streamed.text.rstrip().endswith("data: [DONE]")


def test_long_recordings_are_cut(client, root):
    answer = client.audio.transcriptions.create(
        model="ark-mini", file=root / "samples" / "minute.flac"
    )
    assert len(answer.text.split()) > 60
    assert answer.usage.seconds == 61


def test_instruction_is_the_prompt(server, client, tokenizer, hello):
    client.audio.transcriptions.create(model="ark-mini", file=hello, prompt="Write it down.")
    words = {"type": "text", "text": "Write it down."}
    asked = ask(server.url, [recording(load_audio(hello).samples), words], max_tokens=1)
    assert tokenizer.encode("Write it down.") == asked.json()["prompt_token_ids"][-1 - len(
        tokenizer.encode("Write it down.")
    ) : -1]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"language": "tlh"}, "language 'tlh'"),
        ({"prompt": "<|user|>"}, "control tokens"),
        ({"extra_body": {"hotwords": "Prague"}}, "hotwords"),
        ({"extra_body": {"to_language": "de"}}, "does not translate"),
        ({"response_format": "verbose_json"}, "verbose_json"),
    ],
)
def test_what_cannot_be_done_is_refused(client, hello, options, said):
    with pytest.raises(BadRequestError, match=said):
        client.audio.transcriptions.create(model="ark-mini", file=hello, **options)


def test_translation_is_refused(client, hello):
    with pytest.raises(BadRequestError, match="does not translate"):
        client.audio.translations.create(model="ark-mini", file=hello)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([recording(np.zeros(20 * 16_000)), INSTRUCTION], "at most 16 s"),
        ([recording(np.zeros(100)), INSTRUCTION], "at least 160"),
        ([recording(np.full(16_000, np.nan)), INSTRUCTION], "not finite"),
        ([recording(np.zeros(16_000))] * 2 + [INSTRUCTION], "At most 1 audio"),
        ([recording(np.zeros(16_000)), {"type": "text", "text": "<|im_end|>"}], "control tokens"),
    ],
    ids=["long", "short", "not-a-number", "two", "control"],
)
def test_bad_input_is_the_clients_fault(server, content, said):
    answer = ask(server.url, content)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_a_conversation_is_one_message(server):
    message = {"role": "user", "content": [recording(np.zeros(16_000)), INSTRUCTION]}
    body = {"messages": [{"role": "system", "content": "Be brief."}, message]}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert "one message" in answer.json()["error"]["message"]

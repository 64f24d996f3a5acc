"""What is said when there is no vLLM server, or another one; a real one is in integrations/."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

import ark_asr
from ark_asr.audio import load_audio
from ark_asr.engines.base import Ask
from ark_asr.engines.vllm import settings_from_variables
from ark_asr.engines.vllm_server import VllmServer, _wav
from ark_asr.errors import MissingExtraError, ModelError, ModelFormatError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Audio, TranscribeOptions


@pytest.fixture
def checkpoint(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture
def pretended(checkpoint):
    """A server that answers what is put into it; the requests are in ``asked``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._say({"data": [{"id": "mini", "max_model_len": 512}]})

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            self.server.asked.append((dict(self.headers), json.loads(self.rfile.read(length))))
            self._say(self.server.answer, self.server.status)

        def _say(self, body, status=200):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answer, server.status = [], {}, 200
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def answer(tokenizer, slots, ids):
    steps = [{"logprob": -0.1} for _ in ids]
    choice = {"token_ids": ids, "logprobs": {"content": steps}, "finish_reason": "stop"}
    return {"prompt_token_ids": tokenizer.prompt(slots), "choices": [choice]}


def test_a_recording_becomes_words(pretended, checkpoint, root, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    tokenizer = Tokenizer.load(checkpoint)
    hello = root / "samples" / "hello.flac"
    slots = tokenizer.config.audio_slots(len(load_audio(hello).samples) // 160)
    said = tokenizer.encode(" a house")
    pretended.answer = answer(tokenizer, slots, [*said, *tokenizer.stop_ids])
    with ark_asr.load(checkpoint, engine=pretended.url) as recognizer:
        found = recognizer.transcribe(hello, TranscribeOptions(vad=False))
    assert found.text == "a house"
    ((headers, body),) = pretended.asked
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"]) == ("mini", 0.0)


def test_a_server_with_many_open_files_can_ask(pretended, checkpoint, root):
    tokenizer = Tokenizer.load(checkpoint)
    hello = root / "samples" / "hello.flac"
    slots = tokenizer.config.audio_slots(len(load_audio(hello).samples) // 160)
    pretended.answer = answer(tokenizer, slots, [*tokenizer.encode(" a"), *tokenizer.stop_ids])
    with ExitStack() as held, ark_asr.load(checkpoint, engine=pretended.url) as recognizer:
        descriptor = 0
        while descriptor < 1024:  # what comes now has a number that select() does not take
            try:
                descriptor = os.dup(1)
            except OSError as error:
                pytest.skip(f"no more than {descriptor} files may be open here ({error})")
            held.callback(os.close, descriptor)
        assert recognizer.transcribe(hello, TranscribeOptions(vad=False)).text == "a"


def test_another_model_is_noticed(pretended, checkpoint, root):
    pretended.answer = answer(Tokenizer.load(checkpoint), 3, [1])
    with (
        ark_asr.load(checkpoint, engine=pretended.url) as recognizer,
        pytest.raises(ModelError, match="another model"),
    ):
        recognizer.transcribe(root / "samples" / "hello.flac", TranscribeOptions(vad=False))


@pytest.mark.parametrize("lacks", ["prompt_token_ids", "choices", "token_ids", "logprobs"])
def test_an_answer_of_another_program_is_one_line(pretended, checkpoint, root, lacks):
    """Such as a proxy of OpenAI's interface, which lets go of what it does not know."""
    pretended.answer = answer(Tokenizer.load(checkpoint), 3, [1])
    for part in (pretended.answer, pretended.answer["choices"][0]):
        if lacks in part:
            part[lacks] = None
    with (
        ark_asr.load(checkpoint, engine=pretended.url) as recognizer,
        pytest.raises(ModelError, match="answers without the ids that it chose"),
    ):
        recognizer.transcribe(root / "samples" / "hello.flac", TranscribeOptions(vad=False))


def test_a_refusal_is_told(pretended, checkpoint, root):
    pretended.answer, pretended.status = {"error": {"message": "too long"}}, 400
    with (
        ark_asr.load(checkpoint, engine=pretended.url) as recognizer,
        pytest.raises(ModelError, match=r"refuses \(400\).*too long"),
    ):
        recognizer.transcribe(root / "samples" / "hello.flac", TranscribeOptions(vad=False))


def test_who_leaves_closes_the_connection(checkpoint):
    """Which is how vLLM learns that it need not go on."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = VllmServer(f"http://127.0.0.1:{door.getsockname()[1]}", "mini",
                            Tokenizer.load(checkpoint), 500)  # fmt: skip
        asked = iter([False, False, True])
        silence = Ask(Audio(np.zeros(1600, np.float32), 16_000), 5)
        (found,) = server.write([silence], [lambda: next(asked)])
        assert found.stop == "cancelled"
        connection, _ = door.accept()
        with connection, connection.makefile("rb") as sent:
            assert b"/v1/chat/completions" in sent.read()  # up to its end: it is closed
        server.close()


def test_what_the_route_cannot_do_is_refused(pretended, checkpoint):
    server = VllmServer.open(pretended.url, checkpoint)
    silence = Audio(np.zeros(1600, np.float32), 16_000)
    with pytest.raises(OptionError, match="context"):
        server.write([Ask(silence, 5, said=(1,))], [lambda: False])
    server.close()


def test_no_server_is_one_line(checkpoint):
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9/.*no vLLM server answers"):
        ark_asr.load(checkpoint, engine="http://127.0.0.1:9")


def test_only_checkpoints_and_no_threads(checkpoint):
    with pytest.raises(ModelFormatError, match="vLLM runs checkpoints"):
        ark_asr.load(engine="vllm")
    with pytest.raises(OptionError, match="VLLM_CPU_OMP_THREADS_BIND"):
        ark_asr.load(checkpoint, engine="vllm", threads=1)


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (None, "ARK-ASR in vLLM needs"),
        ((0, 31, 2), r"\(0\.32; 0\.31\.2 is here\) needs"),
        ((0, 33, 0), r"\(0\.32; 0\.33\.0 is here\) needs"),
    ],
)
def test_no_vllm_or_another_release_is_one_line(checkpoint, monkeypatch, here, said):
    """Of another release nothing is relied upon: what it says of our model would not be clear."""
    number = ".".join(map(str, here or ()))
    release = here and SimpleNamespace(__version_tuple__=here, __version__=number)
    monkeypatch.setitem(sys.modules, "vllm", release)
    with pytest.raises(MissingExtraError, match=said) as found:
        ark_asr.load(checkpoint, engine="vllm")
    assert str(found.value).endswith(" an optional part: pip install 'ark-asr[vllm]'")


def test_sound_arrives_as_it_was():
    samples = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    back = load_audio(io.BytesIO(_wav(Audio(samples, 16_000))))
    np.testing.assert_array_equal(back.samples, samples)


def test_variables_of_the_published_service(monkeypatch):
    monkeypatch.setenv("VLLM_MAX_NUM_SEQS", "4")
    monkeypatch.setenv("VLLM_GPU_MEMORY_UTILIZATION", "0.6")
    monkeypatch.setenv("VLLM_DTYPE", "bfloat16")
    monkeypatch.setenv("VLLM_PIPELINE_PARALLEL_SIZE", "2")
    monkeypatch.setenv("VLLM_QUANTIZATION", "fp8")
    assert settings_from_variables() == {
        "dtype": "bfloat16", "max_num_seqs": 4, "gpu_memory_utilization": 0.6,
        "pipeline_parallel_size": 2, "quantization": "fp8",
    }  # fmt: skip
    monkeypatch.setenv("VLLM_MAX_NUM_SEQS", "many")
    with pytest.raises(OptionError, match="VLLM_MAX_NUM_SEQS is 'many'"):
        settings_from_variables()

"""Every kind of teacher says the same of a clip alone, in a batch, and by its own front door."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import io
import json
import runpy
import threading
import wave

import numpy as np
import pytest
import torch

import checkpoints
import real_whisper
import tiny_teachers
from ark_asr.audio import LogMel, load_audio
from ark_asr.errors import ModelError, ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.bridge import Bridge
from ark_asr.training.divergence import NEVER
from ark_asr.training.teachers import load_teacher
from ark_asr.training.teachers import server as server_teacher
from ark_asr.training.teachers.ark import ArkTeacher, ark_vocabulary
from ark_asr.training.teachers.config import TeacherConfig
from ark_asr.training.teachers.qwen3_asr import Qwen3AsrTeacher
from ark_asr.training.teachers.whisper import WhisperTeacher
from ark_asr.training.validate import plain

SOUNDS = [
    np.random.default_rng(i).standard_normal(n).astype(np.float32) * 0.1
    for i, n in enumerate((9_000, 20_000, 14_321))
]
TEXTS = ["a bad cab", "", "dad"]


@pytest.fixture(scope="module")
def ark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "ark"
    checkpoints.write_checkpoint(folder, layers=1, encoder_layers=1)
    return ArkTeacher.load(folder, "cpu")


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    return tiny_teachers.write_whisper(tmp_path_factory.mktemp("teacher") / "whisper")


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory):
    return tiny_teachers.write_qwen3_asr(tmp_path_factory.mktemp("teacher") / "qwen")


def check_batch(teacher, expected):
    """A batch says what each clip's own forward pass says, place by place."""
    texts = [teacher.encode(text) for text in TEXTS]
    found = teacher.score(SOUNDS, texts)
    for sound, text, scores in zip(SOUNDS, texts, found, strict=True):
        assert scores.logits.shape == (len(text) + 1, len(teacher.vocabulary.pieces))
        assert not scores.logits.requires_grad
        torch.testing.assert_close(scores.logits, expected(sound, text), atol=2e-4, rtol=2e-4)


def test_ark(ark):
    mel_of = LogMel(ark.tokenizer.features)

    def alone(sound, text):
        mel = torch.from_numpy(mel_of(sound))[None]
        prompt = ark.tokenizer.prompt(ark.model.config.audio_slots(mel.shape[2]))
        with torch.no_grad():
            return ark.model(torch.tensor([[*prompt, *text]]), mel)[0, len(prompt) - 1 :]

    check_batch(ark, alone)


def test_whisper(whisper_folder):
    teacher = WhisperTeacher.load(whisper_folder, "cpu", "float32", "en")
    token = teacher.raw.token_to_id
    start = [token(t) for t in
             ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")]  # fmt: skip
    assert teacher.prompt == start
    assert teacher.encode("ad") == teacher.raw.encode(" ad", add_special_tokens=False).ids
    assert teacher.vocabulary.pieces[5] is None  # what its own generation suppresses
    assert teacher.vocabulary.pieces[token("<|0.00|>")] is None

    def alone(sound, text):
        mel = teacher.extractor(sound, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad():
            ids = torch.tensor([[*start, *text]])
            return teacher.model(mel, decoder_input_ids=ids).logits[0, len(start) - 1 :]

    check_batch(teacher, alone)
    # A text that has no room is scored as far as there is.
    (long,) = teacher.score(SOUNDS[:1], [list(range(100))])
    assert len(long.logits) == 40 - len(start) + 1


def test_whisper_must_know_the_language(whisper_folder):
    with pytest.raises(OptionError, match=r"set teacher\.language"):
        WhisperTeacher.load(whisper_folder, "cpu", "float32", "")
    with pytest.raises(OptionError, match="'tlh'"):
        WhisperTeacher.load(whisper_folder, "cpu", "float32", "tlh")


def test_a_transformers_that_asks_qwen3_otherwise_is_refused(qwen_folder, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "5.14.1")
    with pytest.raises(ModelError, match=r"transformers 5\.14\.1 has no Qwen3ASR.* take a newer"):
        Qwen3AsrTeacher.load(qwen_folder, "cpu", "float32", "en")


@pytest.mark.parametrize("language", ["en", ""])
def test_qwen3_asr(qwen_folder, language):
    teacher = Qwen3AsrTeacher.load(qwen_folder, "cpu", "float32", language)

    def alone(sound, text):
        asked = teacher.processor.apply_transcription_request(sound, language=language or None)
        ids = torch.cat([asked["input_ids"], torch.tensor([text], dtype=torch.long)], 1)
        with torch.no_grad():
            logits = teacher.model(
                input_ids=ids, input_features=asked["input_features"],
                input_features_mask=asked["input_features_mask"],
            ).logits  # fmt: skip
        return logits[0, asked["input_ids"].shape[1] - 1 :]

    check_batch(teacher, alone)
    ends = {teacher.raw.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>")}
    assert teacher.vocabulary.end_ids == ends
    prompt = teacher.processor.apply_transcription_request(SOUNDS[0], language=language or None)
    said = teacher.raw.decode(prompt["input_ids"][0].tolist(), skip_special_tokens=False)
    assert said.endswith("language English<asr_text>" if language else "assistant\n")


class Desk(http.server.BaseHTTPRequestHandler):
    """Answers as vLLM does, from a real model: `teacher` and `spoil` are set by the test."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.end_headers()
            return
        if self.server.failures:
            self.server.failures -= 1
            self.send_response(self.server.failing)
            self.send_header("Retry-After", self.server.later)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.hangs and not body["messages"][1:]:  # a text without a token
            self.server.released.wait(60)
            self.server.awake = True
        answer = self.server.spoil(self.answer(body))
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) + self.server.missing))
        self.end_headers()
        self.wfile.write(data)
        if self.server.missing:
            self.server.missing -= 1

    def answer(self, body):
        sent = body["messages"][0]["content"][0]["input_audio"]
        with wave.open(io.BytesIO(base64.b64decode(sent["data"]))) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        written = body["messages"][1]["content"] if len(body["messages"]) > 1 else ""
        teacher = self.server.teacher
        text = teacher.encode(written)
        (scores,) = teacher.score([sound.astype(np.float32)], [text])
        values, ids = scores.logits.log_softmax(-1).topk(body["prompt_logprobs"])
        chosen = scores.logits.log_softmax(-1)
        rows = [
            {str(int(i)): {"logprob": float(v)} for v, i in zip(*pair, strict=True)}
            | ({str(text[n]): {"logprob": float(chosen[n, text[n]])}} if n < len(text) else {})
            for n, pair in enumerate(zip(values, ids, strict=True))
        ]
        last = [
            {"token": f"token_id:{int(i)}", "logprob": float(v)}
            for v, i in zip(values[-1], ids[-1], strict=True)
        ]
        content = [{"token": last[0]["token"], "top_logprobs": last}]
        return {
            "prompt_logprobs": [None, {"7": {"logprob": -1.0}}, *rows[:-1]],
            "choices": [{"logprobs": {"content": content}}],
        }

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers), None))
        self.send_error(404)

    def log_message(self, *args):
        """Nothing on the screen."""


@pytest.fixture
def desk(ark):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    server.teacher, server.asked, server.failures = ark, [], 0
    server.missing, server.elsewhere = 0, ""
    server.failing, server.later = 503, "soon"
    server.hangs, server.awake, server.released = False, False, threading.Event()
    server.spoil = lambda answer: answer
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def ask(desk, tmp_path, **options):
    ark = desk.teacher
    ark.tokenizer.raw.save(str(tmp_path / "tokenizer.json"))
    config = TeacherConfig(
        kind="server", model="m", url=f"http://127.0.0.1:{desk.server_port}/v1",
        tokenizer="tokenizer.json", top_k=6, **options,
    )  # fmt: skip
    return load_teacher(config, tmp_path, "cpu")


def test_a_server_says_the_likeliest_of_what_its_model_says(desk, ark, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "secret")
    teacher = ask(desk, tmp_path, key_variable="TEACHER_KEY")
    desk.failures = 1  # it is asked again
    texts = [teacher.encode(text) for text in TEXTS]
    assert texts == [ark.encode(text) for text in TEXTS]
    direct = ark.score(SOUNDS, texts)
    for told, known, text in zip(teacher.score(SOUNDS, texts), direct, texts, strict=True):
        assert len(told.logits) == len(text) + 1
        logprobs = known.logits.log_softmax(-1)
        for values, ids, row in zip(told.logits, told.token_ids, logprobs, strict=True):
            there = ids >= 0
            assert (values[~there] == NEVER).all()
            assert set(row.topk(6).indices.tolist()) <= set(ids[there].tolist())
            # The sound went through 16 bits.
            torch.testing.assert_close(values[there], row[ids[there]], atol=2e-2, rtol=2e-2)
    path, headers, body = desk.asked[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["max_tokens"]) == ("m", 1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda answer: answer | {"prompt_logprobs": None}, "has no prompt_logprobs"),
        (lambda answer: {"choices": []}, "has no prompt_logprobs"),
        (lambda answer: [answer], "has no prompt_logprobs"),
        (lambda answer: answer | {"prompt_logprobs": [{"3": {"logprob": 0.0}}] * 9},
         "not those of"),
    ],
)  # fmt: skip
def test_a_server_that_says_something_else(desk, tmp_path, spoil, says):
    desk.spoil = spoil
    teacher = ask(desk, tmp_path)
    with pytest.raises(ModelError, match=says):
        teacher.score(SOUNDS[:1], [teacher.encode("a bad cab")])


def test_an_answer_that_is_cut_short_is_asked_for_again(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(server_teacher, "_FIRST_PAUSE", 0.0)
    teacher = ask(desk, tmp_path)
    desk.missing = 2
    (scores,) = teacher.score(SOUNDS[:1], [teacher.encode("a")])
    assert len(scores.logits) == 2
    assert len(desk.asked) == 3
    desk.missing = 9
    with pytest.raises(ModelError, match=r"no answer .*IncompleteRead"):
        teacher.score(SOUNDS[:1], [teacher.encode("a")])


def test_key_and_sound_do_not_follow_a_server_elsewhere(desk, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "secret")
    teacher = ask(desk, tmp_path, key_variable="TEACHER_KEY")
    desk.elsewhere = f"http://127.0.0.1:{desk.server_port}/other"
    with pytest.raises(ModelError, match="refused with 302"):
        teacher.score(SOUNDS[:1], [[1]])
    assert [path for path, _, _ in desk.asked] == ["/v1/chat/completions"]


def test_a_server_that_is_asked_too_often_is_asked_again_later(desk, tmp_path, monkeypatch):
    paused = []
    monkeypatch.setattr(server_teacher.time, "sleep", paused.append)
    desk.failing, desk.failures, desk.later = 429, 6, "3"
    teacher = ask(desk, tmp_path)
    (scores,) = teacher.score(SOUNDS[:1], [teacher.encode("a")])
    assert len(scores.logits) == 2
    assert paused == [3, 3, 3, 4, 8, 16]  # as long as it says, or twice as long as before
    desk.failures, desk.later = 1, "3600"  # longer than anybody waits
    with pytest.raises(ModelError, match="refused with 429"):
        teacher.score(SOUNDS[:1], [teacher.encode("a")])
    assert len(paused) == 6


def test_a_server_that_hangs_holds_up_no_error(desk, tmp_path):
    desk.hangs = True
    desk.spoil = lambda answer: {}
    teacher = ask(desk, tmp_path)
    with pytest.raises(ModelError, match="has no prompt_logprobs"):
        teacher.score(SOUNDS[:2], [[], teacher.encode("a")])
    assert not desk.awake


def test_a_server_that_is_too_slow_is_told_as_such(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(server_teacher, "_FIRST_PAUSE", 0.0)
    desk.hangs = True
    teacher = ask(desk, tmp_path, timeout=0.1)
    with pytest.raises(ModelError, match=r"no answer in 0\.1 s; teacher\.timeout"):
        teacher.score(SOUNDS[:1], [[]])


def test_a_server_that_is_not_there(desk, tmp_path, monkeypatch):
    teacher = ask(desk, tmp_path)
    desk.failures = 3
    with pytest.raises(ModelError, match="refused with 503"):
        teacher.score(SOUNDS[:1], [[1]])
    wrong = dataclasses.replace(teacher.config, url="http://127.0.0.1:port/v1")
    monkeypatch.setattr(server_teacher, "_FIRST_PAUSE", 0.0)
    with pytest.raises(ModelError, match=r"no answer \(nonnumeric port"):
        server_teacher.ServerTeacher(wrong, teacher.raw, "").score(SOUNDS[:1], [[1]])
    with pytest.raises(OptionError, match="NOT_THERE is not set"):
        ask(desk, tmp_path, key_variable="NOT_THERE")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "oracle", "model": "m"}, "one of ark"),
        ({"kind": "ark"}, "model is missing"),
        ({"kind": "ark", "model": "m", "language": "en"}, "kind ark has no language"),
        ({"kind": "whisper", "model": "m", "url": "http://x"}, "kind whisper has no url"),
        ({"kind": "server", "model": "m", "url": "http://x"}, "url and tokenizer"),
        ({"kind": "ark", "model": "m", "dtype": "int8"}, "dtype"),
        ({"kind": "server", "model": "m", "url": "u", "tokenizer": "t", "top_k": 0}, "top_k"),
        *(
            (
                {"kind": "server", "model": "m", "url": "u", "tokenizer": "t", "timeout": seconds},
                "teacher.timeout too, and a day at most",
            )
            for seconds in (0.0, float("nan"), float("inf"), 1e300)
        ),
    ],
)
def test_options_that_make_no_sense(options, says):
    with pytest.raises(OptionError, match=says):
        TeacherConfig(**options).check("recipe.toml")


def test_folders_that_are_no_teacher(tmp_path, whisper_folder, ark):
    for kind in ("ark", "whisper", "qwen3-asr"):
        with pytest.raises(ModelNotFoundError, match=r"config\.json"):
            load_teacher(TeacherConfig(kind=kind, model="nothing"), tmp_path, "cpu")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((whisper_folder / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ModelFormatError):
        load_teacher(TeacherConfig(kind="whisper", model="broken"), tmp_path, "cpu")


def test_the_small_model_prefers_what_was_said(root):
    folder = root / "checkpoints" / "ark-mini"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("checkpoints/ark-mini is not here")
    teacher = ArkTeacher.load(folder, "cpu")
    names = ["hello", "numbers"]
    sounds = [
        load_audio(root / "samples" / f"{name}.flac", sample_rate=16_000).samples for name in names
    ]
    texts = [
        teacher.encode((root / "samples" / f"{name}.txt").read_text().strip()) for name in names
    ]

    def mean_logprob(text, scores):
        logprobs = scores.logits.log_softmax(-1)
        chosen = [*text, *teacher.vocabulary.end_ids]
        return logprobs[range(len(chosen)), chosen].mean().item()

    right = teacher.score(sounds, texts)
    wrong = teacher.score(sounds[::-1], texts)
    for text, one, two in zip(texts, right, wrong, strict=True):
        assert mean_logprob(text, one) > mean_logprob(text, two) + 1


def test_a_real_whisper_prefers_what_was_said_and_can_teach_plain_words(tmp_path, root):
    """Whisper tiny.en beside the ids of ark-mini, which writes lower case and no punctuation."""
    source = real_whisper.ctranslate2_folder()
    script = root / "recipes" / "distill-mini" / "whisper_from_ctranslate2.py"
    runpy.run_path(str(script), run_name="tool")["convert"](source, tmp_path / "w", float32=True)
    tokenizer = Tokenizer.load(root / "checkpoints" / "ark-mini")
    student = ark_vocabulary(tokenizer)
    text = (root / "samples" / "hello.txt").read_text().strip()
    sound = load_audio(root / "samples" / "hello.flac", sample_rate=16_000).samples
    shares = []
    for is_plain, cut in ((False, None), (True, None), (True, tokenizer.encode)):
        config = TeacherConfig(kind="whisper", model="w", plain=is_plain)
        teacher = load_teacher(config, tmp_path, "cpu")
        bridge = Bridge(student, teacher, "cpu", cut)
        ids = tokenizer.encode(plain(text))
        told = bridge.retell(ids)
        (scores,) = teacher.score([sound], [told])
        pairs = bridge.pairs(ids, told, len(scores.logits))
        brought = bridge.bring([scores], [pairs])
        shares.append(brought.share.mean().item())
    assert shares == sorted(shares)
    assert shares[-1] > 0.9
    likeliest = brought.target.logits.argmax(-1).tolist()
    wanted = [[*ids, bridge.end][pair.student] for pair in pairs]
    right = [one == other for one, other in zip(likeliest, wanted, strict=True)]
    assert right[-1]  # it ends where the text ends
    assert sum(right) >= 0.7 * len(right)

"""A run of `ark-asr batch` with a model that knows recordings by their length."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ark_asr import Recognizer
from ark_asr.cli import app
from ark_asr.models.tokenizer import Tokenizer
from listener import Listener, wav, words, write_jsonl


@pytest.fixture
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


@pytest.fixture
def engine(tokenizer):
    return Listener(tokenizer)


@pytest.fixture
def program(monkeypatch, engine, tokenizer):
    """Run `ark-asr batch` with that model; the result says how often it was loaded."""

    def program(*arguments, **options):
        loaded = []

        def load(cls, model=None, *, engine=None, threads=None):
            loaded.append((model, engine, threads))
            return recognizer

        recognizer = Recognizer(engine, tokenizer, "listener")
        monkeypatch.setattr(Recognizer, "load", classmethod(load))
        result = CliRunner().invoke(app, ["batch", *map(str, arguments)], **options)
        result.loaded = loaded
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return program


@pytest.fixture
def manifest(tmp_path):
    """Eight recordings of different lengths, in no order of length."""
    rows = []
    for number in (9, 4, 12, 6, 20, 5, 15, 7):
        wav(tmp_path / "audio" / f"{number}.wav", number)
        rows.append({"audio": f"audio/{number}.wav", "text": words(number), "task": "asr"})
    return write_jsonl(tmp_path / "in.jsonl", rows)

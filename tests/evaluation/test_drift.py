"""The drift gate: its numbers against numbers made otherwise, and what it lets through."""

from __future__ import annotations

import json
import math
import wave
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from ark_asr import cli
from ark_asr.audio import LogMel, load_audio
from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.records import Record
from ark_asr.decoding.text import clean
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.errors import AudioError, ModelError
from ark_asr.evaluation.drift import Candidate, Drift, compare_clips, summarize
from ark_asr.evaluation.drift_report import Limits
from ark_asr.graphs.convert import build_package
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Prompt
from checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny checkpoint, packages of it, another one, and three recordings."""
    folder = tmp_path_factory.mktemp("drift")
    write_checkpoint(folder / "checkpoint")
    write_checkpoint(folder / "elsewhere", seed=1)
    for precision in ("fp32", "int8"):
        build_package(folder / "checkpoint", folder / precision, precision=precision, name="tiny")
    build_package(folder / "elsewhere", folder / "other", name="other")
    rng = np.random.default_rng(0)
    (folder / "audio").mkdir()
    for i, seconds in enumerate((0.7, 1.3, 2.0)):
        noise = rng.standard_normal(int(16_000 * seconds)) * 3000
        with wave.open(str(folder / "audio" / f"{i}.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(noise.astype("<i2").tobytes())
    return folder


def drift(made, first, second):
    records = read_manifest(str(made / "audio"))
    models = [Candidate.load(resolve(made / name), 1) for name in (first, second)]
    clips = list(compare_clips(*models, records))
    for model in models:
        model.close()
    return clips, summarize(records, clips)


def test_a_model_has_not_moved_from_itself(made):
    clips, found = drift(made, "int8", "int8")
    assert found.embedding_error == found.worst_embedding_error == found.logit_error == 0
    assert found.first_token_agreement == found.token_agreement == found.same_transcripts == 1
    assert (found.recordings, found.clips, found.wer) == (3, 3, None)
    assert found.seconds == pytest.approx(4.0, abs=0.01)
    assert found.tokens == sum(clip.tokens for clip in clips) > 3


def test_two_engines_of_one_checkpoint(made):
    _, found = drift(made, "checkpoint", "fp32")
    assert found.worst_embedding_error < 1e-5
    assert found.logit_error < 1e-3
    assert found.first_token_agreement == found.token_agreement == found.same_transcripts == 1


def test_numbers_are_those_of_asking_step_by_step(made):
    """One clip at a time, and every token with a prompt of its own that holds all before it."""
    clips, found = drift(made, "fp32", "other")
    text = Tokenizer.load(made / "fp32")
    engines = [Candidate.load(resolve(made / name), 1).engine for name in ("fp32", "other")]
    for number, clip in enumerate(clips):
        mel = LogMel(text.features)(load_audio(made / "audio" / f"{number}.wav").samples)
        audio = [engine.embed_audio([mel])[0] for engine in engines]
        error = np.sqrt(((audio[1] - audio[0]) ** 2).sum() / (audio[0] ** 2).sum())
        assert clip.embedding_error == pytest.approx(float(error), rel=1e-4)

        def logits(said, audio=audio):
            return [
                engine.start([Prompt([*text.prompt(len(a)), *said], a)], 1).logits[0].copy()
                for engine, a in zip(engines, audio, strict=True)
            ]

        one, other = logits([])
        assert clip.logit_error == pytest.approx(float(np.abs(one - other).max()), rel=1e-3)
        assert clip.same_first_token == (one.argmax() == other.argmax())
        said, same = [], 0
        while len(said) < len(audio[0]) + 16 and not text.stop_ids & set(said):
            chosen, others = (engines[0].output_ids[each.argmax()] for each in logits(said))
            same += chosen == others
            said.append(int(chosen))
        assert (clip.tokens, clip.same_tokens) == (len(said), same)
        assert clip.texts[0] == clean(text.decode([t for t in said if t not in text.stop_ids]))
    assert found.token_agreement < 1


@pytest.fixture
def scripted(byte_checkpoint, made):
    """Two models that answer the three recordings with given words."""
    text = Tokenizer.load(byte_checkpoint)

    def model(*answers):
        return Candidate(ScriptedEngine(text.config, [text.encode(a) for a in answers]), text)

    files = sorted((made / "audio").iterdir())
    references = ("one two", "", "three four five")
    records = [
        Record(i, str(file), str(file), reference, -1.0, -1.0)
        for i, (file, reference) in enumerate(zip(files, references, strict=True), 1)
    ]
    return model, records


def test_shares_and_word_error_rates(scripted):
    model, records = scripted
    first = model("one two", "noise", "three for five")
    second = model("one too", "noise", "three for")
    found = summarize(records, list(compare_clips(first, second, records)))
    # Bytes and ends of the first model's answers; the second ends early, then has ended.
    assert found.tokens == len("one two") + len("noise") + len("three for five") + 3
    wrong = 1 + len(" five")  # the w of two; every byte behind "three for"
    assert found.token_agreement == pytest.approx((found.tokens - wrong) / found.tokens)
    assert found.same_transcripts == pytest.approx(1 / 3)
    assert found.first_token_agreement == 1
    assert found.wer == (pytest.approx(1 / 5), pytest.approx(3 / 5))


def test_models_that_cannot_be_compared(scripted, made):
    model, records = scripted
    with pytest.raises(ModelError, match="different clips or prompts"):
        next(compare_clips(model(), Candidate.load(resolve("ark-mini"), 1), records))
    with pytest.raises(AudioError, match="no recording holds any sound"):
        summarize(records, [])


GOOD = Drift(
    recordings=4, clips=4, seconds=8.0, embedding_error=0.01, worst_embedding_error=0.02,
    logit_error=0.5, first_token_agreement=1.0, tokens=100, token_agreement=0.98,
    same_transcripts=0.75, wer=(0.10, 0.11),
)  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "kept", "broken", "said"),
    [
        ("max_embedding_error", 0.02, 0.019, "embedding error 0.02 is above 0.019"),
        ("max_logit_error", 0.5, 0.4, "logit error 0.5 is above 0.4"),
        ("min_first_token", 1.0, 1.1, "first-token agreement 1 is below 1.1"),
        ("min_token_agreement", 0.98, 0.99, "token agreement 0.98 is below 0.99"),
        ("min_same_transcripts", 0.75, 0.8, "share of same transcripts 0.75 is below 0.8"),
        ("max_wer_difference", 0.011, 0.0, "WER difference 0.01 is above 0"),
    ],
)
def test_each_limit_is_kept_or_named(limit, kept, broken, said):
    assert Limits(**{limit: kept}).broken_by(GOOD) == []
    assert Limits(**{limit: broken}).broken_by(GOOD) == [said]


def test_what_is_no_number_does_not_pass():
    lost = replace(GOOD, worst_embedding_error=math.nan, token_agreement=math.nan)
    limits = Limits(max_embedding_error=10.0, min_token_agreement=0.0)
    assert len(limits.broken_by(lost)) == 2


def check(*arguments):
    return CliRunner().invoke(cli.app, ["models", "check", *map(str, arguments)])


def test_the_command_says_which_limit_is_passed(made):
    result = check(made / "fp32", made / "int8", "--audio", made / "audio")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("tiny (fp32) -> tiny (int8): 3 recordings, 3 clips, 4.0 s\n")
    result = check(
        made / "fp32", made / "int8", "--audio", made / "audio", "--json",
        "--max-embedding-error", "1e-9", "--min-token-agreement", "0.1",
    )  # fmt: skip
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "embedding error" in line
    assert "is above 1e-09" in line
    report = json.loads(result.stdout)
    assert report["schema"] == "ark-asr/drift"
    assert report["broken"] == [line.removeprefix("ark-asr: ")]
    assert report["second"]["precision"] == "int8"


def test_what_cannot_be_measured_is_said(made, tmp_path):
    for arguments in (
        (made / "fp32", made / "int8", "--audio", made / "audio", "--max-wer-difference", "0"),
        (made / "fp32", tmp_path / "none", "--audio", made / "audio"),
        (made / "fp32", made / "int8", "--audio", tmp_path / "none"),
        (made / "fp32", "ark-mini", "--audio", made / "audio"),
    ):
        result = check(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert len(result.stderr.splitlines()) == 1

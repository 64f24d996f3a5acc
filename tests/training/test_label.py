"""Teacher data: what is kept and why not, and runs that are interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import stand_ins
from ark_asr.audio import load_audio
from ark_asr.batch.manifests import read_manifest
from ark_asr.cli import app
from ark_asr.errors import ModelError, ModelNotFoundError, OptionError
from ark_asr.evaluation.compare.base import FAMILIES
from ark_asr.training import label as labelling
from ark_asr.training.label import Job, Teacher, label
from ark_asr.training.labels import Label, Limits, agreement, objection, repeats
from ark_asr.training.rows import read_manifest as read_rows
from ark_asr.training.rows import read_samples
from ark_asr.training.strangers import Stranger
from ark_asr.training.validate import plain
from ark_asr.types import TranscribeOptions

GOOD = Label("a.wav", "a.wav", 2.0, 4.0, "a very good example", 0.9, second="a very good example")


def changed(**values):
    return dataclasses.replace(GOOD, **values)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (GOOD, None),
        (changed(error="gone", text=""), "error"),
        (changed(text=" ... "), "empty"),
        (changed(flags=("loop",)), "guard"),
        (changed(flags=("mended:loop", "retry:shorter")), None),
        (changed(end=2.2), "length"),
        (changed(end=40.0), "length"),
        (changed(confidence=0.59), "confidence"),
        (changed(confidence=None), None),
        (changed(end=25.0), "rate"),
        (changed(text="x" * 90), "rate"),
        (changed(text="no no no no"), "repetition"),
        (changed(second="a bad thing"), "agreement"),
        (changed(second=None), None),
    ],
)
def test_each_limit_objects_to_what_it_is_for(one, reason):
    assert objection(one, Limits()) == reason


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.integers(1, 6))
def test_a_phrase_said_again_is_counted(words, times):
    found = repeats(" ".join(words * times))
    assert found >= times
    assert repeats(" ".join(["before", *words * times, "after"])) >= times
    assert found <= len(words) * times


def test_repeats_by_hand():
    assert repeats("one two three") == 1
    assert repeats("a b a b a b c") == 3
    assert repeats("謝謝謝謝") == 4
    assert repeats("Mississippi") == 1


@given(st.text(max_size=20), st.text(max_size=20))
def test_agreement_is_a_share(one, other):
    assert 0 <= agreement(one, other) <= 1
    assert agreement(one, one) == 1
    assert agreement("a b", "") == 0


@pytest.mark.parametrize(
    "values", [{"confidence": 2.0}, {"min_seconds": 9.0, "max_seconds": 3.0}, {"repeats": 0}]
)
def test_limits_without_sense_are_refused(values):
    with pytest.raises(OptionError):
        Limits(**values)


@pytest.fixture
def manifest(tmp_path, root):
    """Two parts of recordings, one that is not there, with a key of its own each."""
    rows = [
        {"audio": "samples/hello.flac", "speaker": "x"},
        {"audio": "samples/gone.flac", "speaker": "y"},
        {"audio": "samples/minute.flac", "begin_time": 7, "end_time": 14, "speaker": "z"},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return read_manifest(str(path), audio_root=root)


def files(folder):
    return {
        path.name: path.read_text()
        for path in sorted(folder.glob("*.jsonl"))
        if path.name != "in.jsonl"
    }


def test_a_run_that_is_interrupted_writes_what_it_would_have(tmp_path, manifest, monkeypatch):
    beam = Teacher(None, TranscribeOptions(vad=None, beam_size=2))
    whole = Job(manifest, tmp_path / "one" / "l.jsonl", Teacher(), beam, threads=1)
    made = label(whole)
    assert made.dropped == {"error": 1}
    assert made.kept == 2

    rows = read_rows(whole.output)  # as training reads it
    assert [round(row.begin) for row in rows] == [0, 7]
    assert len(read_samples(rows[1], 16_000)) / 16_000 == pytest.approx(rows[1].seconds, abs=0.01)
    first = json.loads(whole.output.read_text().splitlines()[0])
    assert first["speaker"] == "x"
    assert first["teacher"].startswith("ark-mini@")
    (dropped,) = map(json.loads, whole.beside(".dropped.jsonl").read_text().splitlines())
    assert (dropped["reason"], dropped["speaker"]) == ("error", "y")
    assert "gone.flac" in dropped["error"]
    provenance = json.loads(whole.beside(".provenance.json").read_text())
    assert provenance["kept"]["clips"] == 2
    assert len(provenance["passes"]["first"]["sha256"]) == 64
    second = provenance["passes"]["second"]["options"]
    assert (second["beam_size"], second["vad"]) == (2, False)  # clips are heard as they are

    job = dataclasses.replace(whole, output=tmp_path / "two" / "l.jsonl")
    hear = labelling._hear

    def torn(job, teacher, records, rows, **options):
        hear(job, teacher, records[:2], rows, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(labelling, "_hear", torn)
        with pytest.raises(KeyboardInterrupt):
            label(job)
    with job.beside(".first.jsonl").open("a") as file:
        file.write('{"audio": "to')  # a row that was being written
    with pytest.raises(OptionError, match="--resume"):
        label(job)
    label(job, resume=True)
    assert files(tmp_path / "two") == files(tmp_path / "one")

    # Other limits: nothing is heard again, nor of rows from when this was written down as null.
    heard = job.beside(".passes.json")
    assert '"vad": false' in heard.read_text()
    heard.write_text(heard.read_text().replace('"vad": false', '"vad": null'))
    strict = dataclasses.replace(job, limits=Limits(confidence=1.0))
    with monkeypatch.context() as patch:
        patch.setattr("ark_asr.batch.predict.Settings.load", None)
        assert label(strict, resume=True).dropped == {"error": 1, "confidence": 2}
    other = dataclasses.replace(job, teacher=beam)
    with pytest.raises(OptionError, match="first pass was another teacher"):
        label(other, resume=True)


class Answers(BaseHTTPRequestHandler):
    """A server with OpenAI's interface."""

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, asked))
        code, body = self.server.answers.pop(0)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def answering(*answers):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answers, server.asked = list(answers), []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_is_a_teacher(tmp_path, manifest):
    spoken = {
        "text": "one two three four", "segments": [
            {"start": 0.5, "end": 1.5, "text": " one two", "avg_logprob": -0.1},
            {"start": 2.0, "end": 3.0, "text": " three four", "avg_logprob": -3.0},
        ],
    }  # fmt: skip
    with answering((200, {"text": "a light in the window"}), (200, spoken)) as (server, url):
        job = Job(manifest, tmp_path / "l.jsonl", Teacher(f"{url}#big"))
        made = label(job)
    assert made.dropped == {"error": 1, "confidence": 1}
    rows = [json.loads(line) for line in job.output.read_text().splitlines()]
    assert [(row["begin_time"], row["text"]) for row in rows] == [
        (0.0, "a light in the window"), (7.5, "one two"),
    ]  # fmt: skip
    path, asked = server.asked[0]
    assert path == "/v1/audio/transcriptions"
    assert b"verbose_json" in asked
    assert b"big" in asked
    assert b"RIFF" in asked


def test_recordings_that_are_elsewhere_are_heard_and_keep_their_address(tmp_path, root):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/hello.flac", (root / "samples" / "hello.flac").read_bytes())
    path = tmp_path / "in.jsonl"
    path.write_text('{"audio": "memory://bucket/hello.flac"}')
    said = "a light in\u2028the window"  # a line end of Unicode is none of a row's
    with answering((200, {"text": said})) as (_, url):
        job = Job(read_manifest(str(path)), tmp_path / "l.jsonl", Teacher(url))
        assert label(job).dropped == {}
    memory.rm("/", recursive=True)
    (row,) = read_rows(job.output)
    assert (row.audio, row.text) == ("memory://bucket/hello.flac", said)


def test_what_a_person_wrote_or_corrected_is_not_replaced(tmp_path, manifest):
    job = Job(manifest[:1], tmp_path / "l.jsonl", Teacher("http://127.0.0.1:9/v1"))
    job.output.write_text("by hand")
    with pytest.raises(OptionError, match="not of this verb"):
        label(job, resume=True)
    assert not job.beside(".passes.json").exists()
    job.output.unlink()
    with answering((200, {"text": "a light in the window"})) as (_, url):
        job = dataclasses.replace(job, teacher=Teacher(url))
        label(job)
    label(job, resume=True)
    corrected = job.output.read_text().replace("window", "widow")
    job.output.write_text(corrected)
    with pytest.raises(OptionError, match="has been changed since it was written"):
        label(job, resume=True)
    assert job.output.read_text() == corrected


def test_a_server_that_is_asked_too_often_is_asked_again_later(tmp_path, manifest, monkeypatch):
    paused = []
    monkeypatch.setattr("ark_asr.training.remote.time.sleep", paused.append)
    good, busy = (200, {"text": "a light in the window"}), (429, {"error": "slow down"})
    with answering(busy, busy, good) as (_, url):
        job = Job(manifest[:1], tmp_path / "l.jsonl", Teacher(url))
        assert label(job).kept == 1
    assert paused == [1, 2]
    monkeypatch.setattr("ark_asr.training.remote._PATIENCE", 0.0)
    with answering(busy) as (_, url):
        job = Job(manifest[:1], tmp_path / "m.jsonl", Teacher(url))
        with pytest.raises(ModelError, match="answered 429"):
            label(job)


def test_a_server_that_fails_stops_the_run_and_one_that_objects_does_not(tmp_path, manifest):
    good = (200, {"text": "a light in the window"})
    with answering((422, {"error": "too long"}), (500, {})) as (_, url):
        job = Job(manifest, tmp_path / "l.jsonl", Teacher(url))
        with pytest.raises(ModelError, match="answered 500"):
            label(job)
    assert len(job.beside(".first.jsonl").read_text().splitlines()) == 2
    with answering(good) as (server, again):
        job = dataclasses.replace(job, teacher=Teacher(again))
        with pytest.raises(OptionError, match="another teacher"):  # another address
            label(job, resume=True)
        assert server.asked == []


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A folder of a Whisper with random weights."""
    return stand_ins.whisper(tmp_path_factory.mktemp("stranger") / "tiny")


def test_a_model_of_another_family_is_a_teacher(tmp_path, manifest, whisper):
    """It writes what the adapter of the comparison writes; the second pass hears its clips."""
    teacher = Teacher(f"whisper:{whisper}", language="de")
    short = [dataclasses.replace(manifest[0], end=1.5), manifest[1]]
    job = Job(short, tmp_path / "l.jsonl", teacher, Teacher(), threads=1, plain=True,
              limits=Limits(max_rate=1e6, min_rate=0.0, repeats=10**6, agreement=0.0))  # fmt: skip
    label(job)
    (first, gone) = map(json.loads, job.beside(".first.jsonl").read_text().splitlines())
    assert "gone.flac" in gone["error"]
    (segment,) = first["segments"]
    sound = load_audio(manifest[0].path, begin=segment["start"], end=segment["end"]).samples
    expected = FAMILIES["whisper"].load(str(whisper), 1, "fp32").hear(sound, "de")
    assert segment["text"] == expected
    assert segment["confidence"] is None
    (dropped, *_) = map(json.loads, job.beside(".dropped.jsonl").read_text().splitlines())
    rows = [json.loads(line) for line in job.output.read_text().splitlines()]
    for row in [dropped, *rows]:
        assert row["text_norm"] == plain(row["text"])
        assert row["teacher"].startswith("whisper:tiny@")
    provenance = json.loads(job.beside(".provenance.json").read_text())
    assert provenance["passes"]["first"]["options"] == {"language": "de"}
    assert provenance["passes"]["first"]["sha256"] == labelling.hash_folder(whisper)
    told = dataclasses.replace(job, teacher=Teacher(f"whisper:{whisper}", language="en"))
    with pytest.raises(OptionError, match="first pass was another teacher"):
        label(told, resume=True)


def test_another_family_is_not_asked_for_what_it_cannot_do(tmp_path, manifest, whisper):
    name = f"whisper:{whisper}"
    beam = TranscribeOptions(beam_size=4)
    for wrong in (
        lambda: Teacher(name, beam),
        lambda: Teacher("http://x/v1", beam),
        lambda: Teacher("ark-mini", language="en"),
        lambda: Job(manifest, tmp_path / "l.jsonl", Teacher(name), workers=2),
        lambda: Stranger(FAMILIES["cohere-asr"], str(whisper), "", 1),
        lambda: Stranger(FAMILIES["parakeet"], str(whisper), "en", 1),
    ):
        with pytest.raises(OptionError):
            wrong()
    with pytest.raises(ModelNotFoundError, match="nowhere: no such folder"):
        label(Job(manifest, tmp_path / "l.jsonl", Teacher("whisper:nowhere")))
    with pytest.raises(ModelError, match="processing class"):
        label(Job(manifest, tmp_path / "m.jsonl", Teacher(f"whisper:{tmp_path}")))


def test_what_a_manifest_says_of_its_own_text_is_not_said_of_the_label(tmp_path, root):
    row = {"audio": "samples/hello.flac", "text": "Wrong!", "text_norm": "wrong"}
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(row))
    job = Job(read_manifest(str(path), audio_root=root), tmp_path / "l.jsonl", Teacher(), threads=1)
    label(job)
    (row,) = read_rows(job.output)
    assert "wrong" not in row.text


def test_offline_means_no_server(tmp_path, manifest, monkeypatch):
    monkeypatch.setenv("ARK_ASR_OFFLINE", "1")
    with pytest.raises(OptionError, match="offline"):
        label(Job(manifest, tmp_path / "l.jsonl", Teacher("http://127.0.0.1:9/v1")))


def test_the_command_says_what_became_of_the_clips(tmp_path, root):
    run = CliRunner().invoke(
        app, ["train", "label", str(root / "samples" / "hello.flac"), "-o", str(tmp_path / "x.txt")]
    )
    assert run.exit_code == 2
    assert "must end in .jsonl" in run.stderr
    folder = tmp_path / "sound"
    folder.mkdir()
    (folder / "hello.flac").write_bytes((root / "samples" / "hello.flac").read_bytes())
    target = tmp_path / "x.jsonl"
    run = CliRunner().invoke(app, ["train", "label", str(folder), "-o", str(target), "--quiet"])
    assert run.exit_code == 0, run.output
    assert "1 clips" in run.stderr
    assert len(target.read_text().splitlines()) == 1
    again = ["train", "label", str(target), "-o", str(target), "--overwrite"]
    run = CliRunner().invoke(app, again)  # it would have replaced what it reads
    assert run.exit_code == 2
    assert "is an input" in run.stderr

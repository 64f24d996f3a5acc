"""`ark-asr data check`: each kind of trouble is found, and nothing in what is fine."""

from __future__ import annotations

import io
import json
import wave

import av
import numpy as np
import pytest

from ark_asr.corpora.checking import KINDS
from ark_asr.corpora.sound import Encoding, encoding_of
from films import film
from listener import wav, write_jsonl


def rows_file(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_jsonl(path, rows)


def found(result):
    """Line and kind of each finding."""
    lines = [line.split(": ") for line in result.stdout.splitlines()]
    where = [next(i for i, cell in enumerate(cells) if cell.startswith("line ")) for cells in lines]
    return [(int(c[i].removeprefix("line ")), c[i + 1]) for c, i in zip(lines, where, strict=True)]


def test_nothing_in_what_is_fine(data, tmp_path):
    rows = [
        {"audio": wav(tmp_path / f"{n}.wav", n).name, "text": "größe 1 語", "speaker": f"s{n}",
         "split": split, "duration": n * 0.05}
        for n, split in ((20, "train"), (30, "train"), (40, "test"))
    ]  # fmt: skip
    result = data("check", rows_file(tmp_path / "m.jsonl", rows))
    assert (result.exit_code, result.stdout) == (0, ""), result.stdout
    assert "3 rows, 4.5 s of sound" in result.stderr
    assert "3 x wav/pcm_s16le, 16000 Hz, 1 ch" in result.stderr


def test_what_is_wrong_with_sound(data, tmp_path):
    with wave.open(str(tmp_path / "zeros.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    (tmp_path / "text.wav").write_text("no sound")
    whole = wav(tmp_path / "cut.wav", 80).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 4])
    (tmp_path / "bare.raw").write_bytes(whole[-32_000:])
    wav(tmp_path / "30.wav", 30)
    wav(tmp_path / "1.wav", 1)
    rows = [
        {"audio": "30.wav", "text": "a"},
        {"audio": "missing.wav", "text": "a"},
        {"audio": "text.wav", "text": "a"},
        {"audio": "cut.wav", "text": "a", "duration": 4.0},
        {"audio": "bare.raw", "text": "a"},
        {"audio": "30.wav", "text": "a", "begin_time": 0.5, "duration": 3},
        {"audio": "1.wav", "text": "a"},
        {"audio": "zeros.wav", "text": "a"},
        {"audio": "zeros.wav", "text": "a"},
        {"audio": "30.wav", "text": "a", "begin_time": 0.5, "end_time": 9},
    ]
    source = rows_file(tmp_path / "m.jsonl", rows)
    result = data("check", source, "--max-seconds", 1.2)
    assert result.exit_code == 1
    assert found(result) == [
        (1, "long"), (2, "unreadable"), (3, "unreadable"), (4, "damaged"), (4, "duration"),
        (5, "damaged"), (6, "duration"), (7, "short"), (8, "silent"), (9, "silent"),
        (10, "duration"), (10, "duplicate"),
    ]  # fmt: skip
    assert "1.00 s, the row says 3.00 s" in result.stdout
    assert "the same as line 6, 30.wav" in result.stdout
    allowed = {kind for _, kind in found(result)} - {"silent"}
    flags = [word for kind in allowed for word in ("--allow", kind)]
    assert found(data("check", source, *flags)) == [(8, "silent"), (9, "silent")]
    assert data("check", source, *flags, "--allow", "silent").exit_code == 0


def test_a_film_is_stored_as_the_track_that_is_heard_of_it():
    unheard = film().replace(b"A_FLAC", b"A_NONE", 1)  # no decoder for the first track
    assert encoding_of(io.BytesIO(unheard)) == Encoding("matroska", "flac", 16_000, 1)


def test_the_same_sound_in_another_container_is_a_duplicate(data, tmp_path):
    path = wav(tmp_path / "a.wav", 30)
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(-1), "<i2")
    with av.open(str(tmp_path / "b.flac"), "w") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    wav(tmp_path / "c.wav", 31)
    train = rows_file(tmp_path / "train.jsonl", [{"audio": "a.wav", "text": "x"}])
    test = [{"audio": "c.wav", "text": "x"}, {"audio": "b.flac", "text": "x"}]
    result = data("check", train, rows_file(tmp_path / "test.jsonl", test))
    assert result.stdout == ("test: line 2: duplicate: b.flac: the same as train: line 1, a.wav\n")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" ", "empty-text"),
        ("gr\ufffd\ufffde", "text-encoding"),
        ("GrÃ¶ÃŸe", "text-encoding"),
        ("donâ€™t", "text-encoding"),
        ("bell \x07", "text-encoding"),
        ("gro\u0308\u00dfe", "text-encoding"),
        ("far too much to say " * 4, "too-much-text"),
        ("à la carte, Âge d'or, 30 €", None),
    ],
)
def test_what_is_wrong_with_text(data, tmp_path, text, kind):
    wav(tmp_path / "a.wav", 25)
    source = rows_file(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": text}])
    assert found(data("check", source)) == ([(1, kind)] if kind else [])


def test_speakers_in_two_parts(data, tmp_path):
    rows = [
        {"audio": wav(tmp_path / f"{n}.wav", 20 + n).name, "text": "x", "speaker": speaker,
         "split": split}
        for n, (speaker, split) in enumerate(
            [("a", "train"), ("b", "train"), ("", "train"), ("b", "test"), ("b", "test"),
             ("c", "test"), (None, "test")]
        )
    ]  # fmt: skip
    result = data("check", rows_file(tmp_path / "m.jsonl", rows))
    assert found(result) == [(4, "shared-speaker")]
    assert "b is in train and in 2 rows of test" in result.stdout


def test_kinds_are_named_in_the_help_and_no_other_is_taken(data, tmp_path):
    shown = " ".join(data("check", "--help").stdout.split())
    assert all(kind in shown for kind in KINDS)
    result = data("check", "m.jsonl", "--allow", "nonsense")
    assert (result.exit_code, "there is no kind 'nonsense'" in result.stderr) == (2, True)


@pytest.mark.parametrize("flag", ["--min-seconds", "--max-seconds", "--max-characters"])
@pytest.mark.parametrize("value", ["nan", "-1"])
def test_limits_that_nothing_can_be_compared_with(data, tmp_path, flag, value):
    source = write_jsonl(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": "t"}])
    result = data("check", source, flag, value)
    assert (result.exit_code, result.stderr) == (
        2, f"ark-asr: {flag} is {value}; it must be a number from 0 on\n"
    )  # fmt: skip


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_that_cannot_be_are_one_line(data, tmp_path, threads):
    wav(tmp_path / "a.wav", 3)
    source = write_jsonl(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": "t"}])
    for verb in (("check", source), ("stats", source)):
        result = data(*verb, "--threads", threads)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"ark-asr: threads is {threads}; it must be 1 to 1024\n"


def test_real_speech(data, speech, tmp_path):
    """Every spoken digit of two speakers: no finding but that both are in one part."""
    rows = [
        row
        for row in map(json.loads, (speech / "digits" / "manifest.jsonl").read_text().splitlines())
        if row["speaker"] in {"speechocean-0001", "speechocean-0026"}
    ]
    assert len(rows) > 2
    source = write_jsonl(tmp_path / "m.jsonl", rows)
    result = data("check", source, "--audio-root", speech / "digits")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "x flac/flac, 16000 Hz, 1 ch" in result.stderr

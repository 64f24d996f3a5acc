"""Parts that share no speaker; numbers of a collection; one record for every stage."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import seconds_of
from ark_asr.corpora.splitting import parse_shares, split_by_speaker
from ark_asr.errors import OptionError
from listener import read_jsonl, wav, write_jsonl

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}


def record(number, speaker, seconds=None):
    extra = (("speaker", speaker), *((("duration", seconds),) if seconds else ()))
    return Record(number, f"{number}.wav", f"{number}.wav", "x", -1.0, -1.0, extra)


voices = st.lists(
    st.tuples(st.integers(0, 12), st.floats(0.1, 60.0)), min_size=1, max_size=80
).filter(lambda rows: len({speaker for speaker, _ in rows}) >= len(SHARES))


@given(voices, st.integers(0, 3))
def test_no_speaker_is_in_two_parts_and_no_part_is_empty(rows, seed):
    records = [record(n, f"s{who}", seconds) for n, (who, seconds) in enumerate(rows)]
    parts = split_by_speaker(records, SHARES, seed=seed)
    assert sorted(row.number for part in parts.values() for row in part) == list(range(len(rows)))
    speakers = [{row.field("speaker") for row in part} for part in parts.values()]
    assert all(speakers)
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    assert all(row.field("split") == name for name, part in parts.items() for row in part)
    shuffled = records.copy()
    random.Random(seed).shuffle(shuffled)
    again = split_by_speaker(shuffled, SHARES, seed=seed)
    assert {name: {row.number for row in part} for name, part in again.items()} == {
        name: {row.number for row in part} for name, part in parts.items()
    }


def test_shares_are_of_sound_and_another_seed_divides_otherwise():
    dice = random.Random(1)
    records = [record(n, f"s{n % 60}", dice.uniform(1, 9)) for n in range(900)]
    found = {}
    for seed in (0, 1):
        parts = split_by_speaker(records, SHARES, seed=seed)
        total = sum(row.field("duration") for row in records)
        for name, part in parts.items():
            share = sum(row.field("duration") for row in part) / total
            assert share == pytest.approx(SHARES[name], abs=0.03)
        found[seed] = {row.field("speaker") for row in parts["test"]}
    assert found[0] != found[1]


def test_rows_without_a_speaker_go_where_one_says():
    records = [record(n, f"s{n}" if n < 5 else "", 2.0) for n in range(8)]
    with pytest.raises(OptionError, match=r"3 of 8 rows have no 'speaker', the first is line 5"):
        split_by_speaker(records, SHARES)
    parts = split_by_speaker(records, SHARES, unknown="train")
    assert {5, 6, 7} <= {row.number for row in parts["train"]}
    with pytest.raises(OptionError, match="there is no part 'nowhere'"):
        split_by_speaker(records, SHARES, unknown="nowhere")
    with pytest.raises(OptionError, match="2 speakers cannot be in 3 parts"):
        split_by_speaker(records[:2], SHARES)


@pytest.mark.parametrize(
    "text", ["train", "train=1", "train=0.5,train=0.5", "a=0.5,b=0.6", "a=x,b=0.5", "a b=0.5,c=0.5"]
)
def test_shares_that_make_no_sense(text):
    with pytest.raises(OptionError):
        parse_shares(text)


def test_a_divided_manifest_still_finds_its_recordings(data, tmp_path):
    rows = [
        {"audio": wav(tmp_path / "set" / "a" / f"{n}.wav", n).parent.name + f"/{n}.wav",
         "text": f"t {n}", "speaker": f"s{n}", "mood": [n]}
        for n in range(4, 10)
    ]  # fmt: skip
    source = write_jsonl(tmp_path / "set" / "m.jsonl", rows)
    shares = ("--parts", "train=0.5,test=0.5")
    result = data("split", source, "-o", tmp_path / "set", *shares)
    assert result.exit_code == 0, result.stderr
    there = [
        row for part in ("train", "test") for row in read_jsonl(tmp_path / f"set/{part}.jsonl")
    ]
    assert sorted(row["audio"] for row in there) == sorted(row["audio"] for row in rows)
    assert sorted(row["mood"][0] for row in there) == [row["mood"][0] for row in rows]
    # Elsewhere they cannot be named relative to the manifest.
    data("split", source, "-o", tmp_path / "other", *shares)
    for row in read_manifest(str(tmp_path / "other" / "train.jsonl")):
        assert row.path == row.audio == str(tmp_path / "set" / "a" / row.audio.split("/")[-1])
    again = data("split", source, "-o", tmp_path / "set", *shares)
    assert (again.exit_code, "--overwrite" in again.stderr) == (2, True)


def test_the_manifest_that_is_divided_is_no_part_of_itself(data, tmp_path):
    rows = [{"audio": f"{n}.wav", "text": "t", "speaker": f"s{n}", "duration": 1} for n in range(4)]
    source = write_jsonl(tmp_path / "train.jsonl", rows)
    before = source.read_bytes()
    result = data("split", source, "-o", tmp_path, "--overwrite")
    assert (result.exit_code, f"{source} is an input" in result.stderr) == (2, True)
    assert [*tmp_path.iterdir()] == [source]
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(2, 2.0), ("2.5", 2.5), (10**400, None), ("long", None), ([2], None), (-1, None), (0, None)],
)
def test_a_length_is_what_a_number_says(duration, seconds):
    made = Record(1, "a.wav", "a.wav", "", -1.0, -1.0, (("duration", duration),))
    assert seconds_of(made) == seconds


def test_a_text_cannot_tell_a_terminal_what_to_do(data, tmp_path):
    rows = [{"audio": "a.wav", "text": "a\x1bb\x07", "split": "x\x1b[2J", "language": "e\x1b",
             "duration": 1}]  # fmt: skip
    result = data("stats", write_jsonl(tmp_path / "m.jsonl", rows))
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "\\x1b" in result.stdout


def test_stats(data, tmp_path):
    wav(tmp_path / "20.wav", 20)
    rows = [
        {"audio": "20.wav", "text": "The cat the hat", "speaker": "a", "split": "train",
         "language": "en"},
        {"audio": "x.wav", "text": "a dog", "speaker": "a", "split": "train", "duration": 2},
        {"audio": "x.wav", "text": "", "split": "train"},
        {"audio": "y.wav", "text": "é", "begin_time": 1, "end_time": 4, "split": "test"},
    ]  # fmt: skip
    source = write_jsonl(tmp_path / "m.jsonl", rows)
    train, test = json.loads(data("stats", source, "--json").stdout)
    assert {key: train[key] for key in ("rows", "unreadable", "speakers", "unknown_speaker",
            "empty_texts", "words", "different_words", "languages")} == {
        "rows": 3, "unreadable": 1, "speakers": 1, "unknown_speaker": 1, "empty_texts": 1,
        "words": 6, "different_words": 5, "languages": {"en": 1},
    }  # fmt: skip
    assert train["hours"] == pytest.approx(3 / 3600)
    assert train["words_per_minute"] == pytest.approx(120)
    assert train["characters_per_second"] == pytest.approx(20 / 3)
    assert (train["seconds"]["mean"], train["seconds"]["longest"]) == (1.5, 2.0)
    assert (train["alphabet"]["h"], train["alphabet"]["g"]) == (3, 1)
    assert (test["speakers"], test["alphabet"]) == (None, {"é": 1})
    shown = data("stats", source).stdout.splitlines()
    assert shown[0].split() == ["train", "test"]
    assert ["speakers", "1", "unknown"] in [line.split() for line in shown]


def test_one_record_for_every_stage(data, tmp_path):
    """What `data` writes is read by batch and training alike, and a later version by neither."""
    for n in (10, 20):
        wav(tmp_path / "set" / f"{n}.wav", n)
        (tmp_path / "set" / f"{n}.txt").write_text(f"text {n}")
    data("manifest", tmp_path / "set", "-o", tmp_path / "m.jsonl")
    records = read_manifest(str(tmp_path / "m.jsonl"))
    assert [record.text for record in records] == ["text 10", "text 20"]
    training = pytest.importorskip("ark_asr.training.rows", reason="PyTorch is not installed")
    rows = training.read_manifest(tmp_path / "m.jsonl")
    assert [(row.audio, row.text, row.seconds) for row in rows] == [
        (record.path, record.text, record.field("duration")) for record in records
    ]
    later = (tmp_path / "m.jsonl").read_text().replace("record/1", "record/2")
    (tmp_path / "later.jsonl").write_text(later)
    with pytest.raises(OptionError, match="this release reads 'ark-asr/record/1'"):
        read_manifest(str(tmp_path / "later.jsonl"))

"""Sound far away and in tar shards is the sound of the files it was made of."""

from __future__ import annotations

import io
import json
import tarfile

import fsspec
import numpy as np
import pytest

import tones
from ark_asr.errors import OptionError
from ark_asr.training import places, supervised
from ark_asr.training.rows import read_manifest, read_samples
from ark_asr.training.shards import index, pack


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return tones.write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def memory():
    """A file system in memory, as far away as any other to fsspec."""
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def same_rows(one, two):
    assert [row.text for row in one] == [row.text for row in two]
    for first, second in zip(one, two, strict=True):
        np.testing.assert_allclose(
            read_samples(first, 16_000), read_samples(second, 16_000), atol=1e-4
        )


def test_shards_hold_every_clip_and_are_ordinary_tars(material, tmp_path):
    rows = read_manifest(material / "train.jsonl")
    assert pack(str(material / "train.jsonl"), tmp_path / "shards", megabytes=0.3) > 2
    packed = read_manifest(tmp_path / "shards" / "manifest.jsonl")
    same_rows(rows, packed)
    tars = sorted((tmp_path / "shards").glob("*.tar"))
    names = []
    for tar in tars:
        with tarfile.open(tar) as opened:
            names += opened.getnames()
    assert len(names) == 2 * len(rows)
    assert all(tar.stat().st_size < 0.4e6 for tar in tars)
    # Other people's shards of that form are read without being copied.
    assert index(tars, tmp_path / "again.jsonl") == len(rows)
    same_rows(rows, read_manifest(tmp_path / "again.jsonl"))
    with pytest.raises(OptionError, match="exists already"):
        pack(str(material / "train.jsonl"), tmp_path / "shards")


def test_a_tar_without_transcripts_is_named(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo("a.wav")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"RIFF"))
    with pytest.raises(OptionError, match=r"x\.tar: a has no transcript"):
        index([tmp_path / "x.tar"], tmp_path / "m.jsonl")
    (tmp_path / "y.tar").write_bytes(b"no tar")
    with pytest.raises(OptionError, match="no tar that can be read"):
        index([tmp_path / "y.tar"], tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_a_bucket_is_trained_on_like_a_disk(material, tmp_path, memory):
    pack(str(material / "train.jsonl"), tmp_path / "shards", megabytes=0.5)
    for path in (tmp_path / "shards").iterdir():
        memory.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    far = read_manifest("memory://bucket/manifest.jsonl")
    assert far[0].audio == "memory://bucket/shard-00000.tar"
    near = read_manifest(tmp_path / "shards" / "manifest.jsonl")
    same_rows(near, far)

    logs = []
    for name, place in (
        ("near", tmp_path / "shards" / "manifest.jsonl"), ("far", "memory://bucket/manifest.jsonl")
    ):  # fmt: skip
        path = tones.recipe(material, tmp_path / name, steps=2, save_every=2)
        text = path.read_text().replace(str(material / "train.jsonl"), str(place))
        path.write_text(text)
        supervised.main(path)
        logs.append(tones.logged(tmp_path / name))
    assert logs[0] == logs[1]


def test_a_clip_that_a_shard_has_lost_is_told_from_others(material, tmp_path):
    pack(str(material / "train.jsonl"), tmp_path / "shards")
    shard = tmp_path / "shards" / "shard-00000.tar"
    row = read_manifest(tmp_path / "shards" / "manifest.jsonl")[3]
    content = bytearray(shard.read_bytes())
    content[row.span[0] : sum(row.span)] = bytes(row.span[1])
    shard.write_bytes(content)
    path = tones.recipe(material, tmp_path / "run", steps=12)
    manifest = tmp_path / "shards" / "manifest.jsonl"
    path.write_text(path.read_text().replace(str(material / "train.jsonl"), str(manifest)))
    with pytest.raises(OptionError, match=rf"shard-00000\.tar \(byte {row.span[0]}\): "):
        supervised.main(path)


def test_what_is_lost_far_away_is_named_and_skipped(tmp_path, memory):
    memory.pipe_file("/bucket/short.tar", b"1234")
    with pytest.raises(FileNotFoundError, match="memory://bucket/gone"):
        places.read_bytes("memory://bucket/gone.tar", (0, 4))
    rows = [{"audio": "gone.tar", "offset": 0, "bytes": 9, "text": "x", "duration": 1}]
    memory.pipe_file("/bucket/m.jsonl", json.dumps(rows[0]).encode())
    (row,) = read_manifest("memory://bucket/m.jsonl")
    with pytest.raises(OSError, match="no such file"):
        read_samples(row, 16_000)
    with pytest.raises(OptionError, match="cannot be read"):
        read_manifest("memory://bucket/none.jsonl")
    with pytest.raises(OptionError, match="nowhere"):
        places.read_bytes("nowhere://bucket/a")


def test_a_server_that_is_away_for_a_moment_is_asked_again(monkeypatch, memory):
    memory.pipe_file("/bucket/a", b"123456")
    monkeypatch.setattr(places, "_FIRST_PAUSE", 0.0)
    real, calls = type(memory).cat_file, []

    def flaky(self, *args, **kwargs):
        calls.append(args)
        if len(calls) < 3:
            raise TimeoutError("busy")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert places.read_bytes("memory://bucket/a", (2, 3)) == b"345"
    calls.clear()
    monkeypatch.setattr(type(memory), "cat_file", lambda *_, **__: 1 / 0)
    with pytest.raises(OSError, match="ZeroDivisionError"):
        places.read_bytes("memory://bucket/a")


def test_offline_opens_nothing(monkeypatch):
    monkeypatch.setenv("ARK_ASR_OFFLINE", "1")
    with pytest.raises(OptionError, match="offline"):
        places.read_bytes("s3://bucket/a")


def test_a_file_that_ends_too_early(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"1234")
    with pytest.raises(OSError, match="ends before byte 6"):
        places.read_bytes(str(tmp_path / "a.tar"), (2, 4))


def test_a_store_that_cuts_a_shard_short_is_named(memory):
    memory.pipe_file("/bucket/a.tar", b"1234")
    with pytest.raises(OSError, match="ends before byte 6"):
        places.read_bytes("memory://bucket/a.tar", (2, 4))


def test_a_recording_without_a_suffix_is_packed(material, tmp_path):
    (tmp_path / "recording").write_bytes((material / "tones.wav").read_bytes())
    row = {"audio": "recording", "text": "x", "duration": 30}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    assert pack(str(tmp_path / "m.jsonl"), tmp_path / "shards") == 1
    (packed,) = read_manifest(tmp_path / "shards" / "manifest.jsonl")
    assert len(read_samples(packed, 16_000)) > 100_000
    (tmp_path / "m.jsonl").write_text("")
    with pytest.raises(OptionError, match="has no rows"):
        pack(str(tmp_path / "m.jsonl"), tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'{"text": null}', "a has no transcript"),  # it was learnt as the word None
        ("a.txt", "grün".encode("latin-1"), "a has no transcript"),
        ("a.txt", b"x", r"x\.tar: a\.wav cannot be used"),
    ],
)
def test_a_damaged_member_is_named(tmp_path, name, content, says):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for member, data in (("a.wav", b"RIFFdamaged"), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(OptionError, match=says):
        index([tmp_path / "x.tar"], tmp_path / "m.jsonl")

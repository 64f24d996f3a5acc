"""Manifests, recordings and outputs elsewhere: fsspec's own memory stands for a store."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ark_asr.batch import places
from ark_asr.batch.manifests import read_manifest
from ark_asr.errors import AudioError, OptionError
from listener import read_jsonl, wav, words

fsspec = pytest.importorskip("fsspec", reason="the extra 'files' is not installed")


@pytest.fixture
def store():
    """An empty store in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


@pytest.fixture
def remote(store, manifest, tmp_path):
    """The manifest of eight recordings and what it names, in the store."""
    for path in (tmp_path / "audio").iterdir():
        store.pipe_file(f"/set/audio/{path.name}", path.read_bytes())
    store.pipe_file("/set/in.jsonl", manifest.read_bytes())
    return "memory://set/in.jsonl"


def rows_of(store, path):
    return [json.loads(line) for line in store.cat_file(path).splitlines()]


def test_all_of_a_batch_elsewhere(program, store, remote, manifest, tmp_path):
    assert program("-i", manifest, "-o", tmp_path / "here").exit_code == 0
    result = program("-i", remote, "-o", "memory://out/rows.jsonl", "--shard-rows", 3)
    assert result.exit_code == 0, result.stderr
    assert store.cat_file("/out/rows.jsonl") == (tmp_path / "here").read_bytes()
    assert store.find("/out") == ["/out/rows.jsonl"]  # no shard stays
    assert "8 of 8 rows" in result.stderr
    # And again from there: an output is an input.
    result = program("-i", "memory://out/rows.jsonl", "--audio-root", "memory://set", "-o",
                     tmp_path / "again")  # fmt: skip
    assert (tmp_path / "again").read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_is_put_elsewhere_is_open_no_more(store, tmp_path, monkeypatch):
    (tmp_path / "part").write_bytes(b"row\n")
    put = store.put_file

    def looked(path, name):
        opened = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert Path(path) not in opened  # Windows opens no file a second time that is temporary
        put(path, name)

    monkeypatch.setattr(type(store), "put_file", lambda _, path, name: looked(path, name))
    places.join_whole("memory://whole", [str(tmp_path / "part")] * 2)
    assert store.cat_file("/whole") == b"row\nrow\n"


def test_rows_that_are_there_stay_and_are_gone_on_after(program, engine, store, remote):
    folder = "memory://out/"
    engine.fails_on = {20}
    flags = ("-i", remote, "-o", folder, "--shard-rows", 2, "--batch-size", 2)
    assert program(*flags, "--fail-fast").exit_code == 1
    there = store.find("/out")
    assert there  # what was whole before the fifth recording
    assert "has rows already" in program(*flags).stderr
    before = {path: store.cat_file(path) for path in there}
    engine.fails_on = set()
    assert program(*flags, "--resume").exit_code == 0
    assert {path: store.cat_file(path) for path in there} == before
    rows = [row for path in sorted(store.find("/out")) for row in rows_of(store, path)]
    assert [row["pred_text"] for row in rows] == [row["text"] for row in rows]


def test_a_recording_that_is_not_there_becomes_a_row(program, store, tmp_path):
    wav(tmp_path / "5.wav", 5)
    store.pipe_file("/a/5.wav", (tmp_path / "5.wav").read_bytes())
    store.pipe_file("/a/bad.wav", b"RIFF, but no more")
    lines = [
        {"audio": name}
        for name in ("none.wav", "5.wav", "memory://a/5.wav", "bad.wav", "huh://a/5.wav")
    ]
    store.pipe_file("/a/in.jsonl", "\n".join(map(json.dumps, lines)).encode())
    result = program("-i", "memory://a/in.jsonl", "-o", tmp_path / "o")
    assert result.exit_code == 1
    rows = read_jsonl(tmp_path / "o")
    assert [row["pred_text"] for row in rows] == ["", words(5), words(5), "", ""]
    assert rows[0]["error"] == "memory://a/none.wav: no such file"
    assert rows[3]["error"].startswith("memory://a/bad.wav: ")
    assert rows[4]["error"] == "huh://a/5.wav: cannot be read (Protocol not known: huh)"


def test_folders_patterns_and_tables(store, remote, tmp_path):
    assert [record.audio for record in read_manifest("memory://set/audio/")] == sorted(
        f"memory:///set/audio/{n}.wav" for n in (9, 4, 12, 6, 20, 5, 15, 7)
    )
    whole = read_manifest(remote)
    lines = store.cat_file("/set/in.jsonl").splitlines(keepends=True)
    store.pipe_file("/set/in-0.jsonl", b"".join(lines[:3]))
    store.pipe_file("/set/in-1.jsonl", b"".join(lines[3:]))
    both = read_manifest("memory://set/in-*.jsonl")
    assert [record.number for record in both] == [record.number for record in whole]
    assert [record.identity for record in both] == [record.identity for record in whole]
    assert whole[0].path == "memory://set/audio/9.wav"
    store.pipe_file("/set/in.csv", b"audio,text\na.wav,hello\n")
    (record,) = read_manifest("memory://set/in.csv")
    assert (record.path, record.text) == ("memory://set/a.wav", "hello")
    with pytest.raises(OptionError, match="no file fits this pattern"):
        read_manifest("memory://set/no-*.jsonl")


def test_patterns_on_this_machine_name_the_file_of_a_bad_line(manifest, tmp_path):
    (tmp_path / "x-1.jsonl").write_bytes(manifest.read_bytes())
    (tmp_path / "x-2.jsonl").write_bytes(b"\n{\n")
    with pytest.raises(OptionError, match=r"x-2\.jsonl: line 2: is not JSON"):
        read_manifest(str(tmp_path / "x-*.jsonl"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("memory://none.jsonl", "memory://none.jsonl: cannot be read (no such file)"),
        ("nonsense://x/in.jsonl", "nonsense://x/in.jsonl: cannot be read (Protocol not known"),
        ("sftp://host/in.jsonl", "sftp:// needs another package"),
    ],
)
def test_a_place_that_cannot_be_reached_is_one_line(
    program, tmp_path, monkeypatch, source, message
):
    monkeypatch.setitem(__import__("sys").modules, "paramiko", None)
    result = program("-i", source, "-o", tmp_path / "o")
    assert (result.exit_code, result.loaded, len(result.stderr.splitlines())) == (2, [], 1)
    assert message in result.stderr


def test_offline_reaches_only_this_machine(store, remote, monkeypatch):
    monkeypatch.setenv("ARK_ASR_OFFLINE", "1")
    assert read_manifest(remote)
    with pytest.raises(OptionError, match="is not reached with --offline"):
        read_manifest("s3://bucket/in.jsonl")
    with pytest.raises(AudioError, match="is not reached with --offline"):
        places.RemoteFile("https://example.org/a.wav").read(1)


def test_what_was_fetched_goes_with_its_file(store):
    store.pipe_file("/a.wav", b"0123456789")
    with places.RemoteFile("memory://a.wav") as file:
        assert file.read(3) == b"012"
        file.seek(-2, 2)
        assert (file.tell(), file.read()) == (8, b"89")
        fetched = file._fetched
    assert fetched.closed


def test_what_an_address_of_the_web_asks_for_is_no_part_of_a_name(store, monkeypatch):
    """A signature behind the path may hold dots and slashes."""
    store.pipe_file("/in.csv", b"audio,text\na.wav,hello\n")
    monkeypatch.setattr(places, "reach", lambda _: (store, "/in.csv"))
    (record,) = read_manifest("https://example.org/set/in.csv?sig=a/b.c")
    assert (record.path, record.text) == ("https://example.org/set/a.wav", "hello")


@pytest.mark.parametrize(
    ("path", "remote"),
    [("s3://b/x", True), ("zip::s3://b/x.zip", True), ("C:\\a", False), ("a:b.wav", False),
     ("/a/b", False), ("-", False)],
)  # fmt: skip
def test_what_is_an_address(path, remote):
    assert places.is_remote(path) == remote

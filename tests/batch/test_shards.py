"""Outputs in several files: whole shards or none, and the same rows as one file has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.records import Prediction, render_row
from ark_asr.batch.shards import ShardFolder
from ark_asr.errors import OptionError
from listener import read_jsonl, write_jsonl


@pytest.fixture
def records(tmp_path):
    rows = [{"audio": f"{n}.wav", "text": f"größe {n}"} for n in range(8)]
    return read_manifest(str(write_jsonl(tmp_path / "in.jsonl", rows)))


def lines(records):
    return [render_row(record, Prediction(f"text {record.number}")) for record in records]


@pytest.fixture
def shards():
    """Makes outputs; the one before has been let go of then."""
    made = []

    def make(target, records, *, size=3, resume=False, overwrite=False):
        for output in made:
            output.close()
        made.append(
            ShardFolder(str(target), records, size=size, resume=resume, overwrite=overwrite)
        )
        return made[-1]

    yield make
    for output in made:
        output.close()


def rows_in(folder):
    return [file for file in folder.iterdir() if file.name != ".lock"]


def test_the_shards_together_are_the_output_of_one_file(program, manifest, tmp_path):
    assert program("-i", manifest, "-o", tmp_path / "one").exit_code == 0
    folder = f"{tmp_path}/many/"
    assert program("-i", manifest, "-o", folder, "--shard-rows", 3).exit_code == 0
    files = sorted((tmp_path / "many").iterdir())
    assert [file.name for file in files] == [f"part-0000{n}-of-00003.jsonl" for n in range(3)]
    assert [len(read_jsonl(file)) for file in files] == [3, 3, 2]
    one = (tmp_path / "one").read_bytes()
    assert b"".join(file.read_bytes() for file in files) == one
    assert "has rows already" in program("-i", manifest, "-o", folder).stderr


def test_rows_in_any_pieces_become_shards_and_then_a_file(shards, records, tmp_path):
    target = tmp_path / "new" / "out.jsonl"
    output = shards(target, records)
    for first, last in ((0, 2), (2, 7)):
        output.append(lines(records)[first:last])
    assert output.done == 6
    parts = tmp_path / "new" / "out.jsonl.parts"
    assert [len(read_jsonl(file)) for file in sorted(rows_in(parts))] == [3, 3]
    assert not target.exists()
    output.append(lines(records)[7:])
    assert target.read_text().splitlines() == lines(records)
    assert list(target.parent.iterdir()) == [target]


def test_going_on_does_the_missing_shards_wherever_they_are(shards, records, tmp_path):
    target = tmp_path / "out.jsonl"
    first = shards(target, records)
    middle = first.missing[1]
    middle.write(lines(middle.records))
    with pytest.raises(OptionError, match="has rows already"):
        shards(target, records)
    again = shards(target, records, resume=True)
    assert again.done == 3
    assert list(again.todo) == [*records[:3], *records[6:]]
    again.append(lines(again.todo))
    assert target.read_text().splitlines() == lines(records)
    done = shards(target, records, resume=True)
    assert (done.done, list(done.todo)) == (8, [])


def test_ended_just_before_the_shards_became_one_file(shards, records, tmp_path):
    target = tmp_path / "out.jsonl"
    for shard in shards(target, records).missing:
        shard.write(lines(shard.records))
    assert not target.exists()
    assert not shards(target, records, resume=True).todo
    assert target.read_text().splitlines() == lines(records)


def test_other_shards_than_those_of_this_input(shards, records, tmp_path):
    target = f"{tmp_path}/out/"
    output = shards(target, records)
    output.append(lines(records))
    with pytest.raises(OptionError, match="is none of 2 shards"):
        shards(target, records, size=4, resume=True)
    with pytest.raises(OptionError, match="line 1 is not of line 8 of the input"):
        shards(target, list(reversed(records)), resume=True)
    path = sorted(rows_in(tmp_path / "out"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OptionError, match="cannot be resumed"):
        shards(target, records, resume=True)
    path.write_text(lines(records)[0] + "\n")
    with pytest.raises(OptionError, match="1 rows instead of 3"):
        shards(target, records, resume=True)
    assert len(shards(target, records, size=4, overwrite=True).todo) == 8
    assert not rows_in(tmp_path / "out")  # and none is left of the other size


def test_errors_of_an_earlier_run_are_counted(shards, records, tmp_path):
    output = shards(f"{tmp_path}/out/", records)
    output.append([render_row(records[0], Prediction(error="broken")), *lines(records)[1:3]])
    assert shards(f"{tmp_path}/out/", records, resume=True).failed == 1


def test_what_cannot_be_in_shards(program, manifest, shards, records, tmp_path):
    with pytest.raises(OptionError, match="standard output cannot be written in shards"):
        shards("-", records)
    with pytest.raises(OptionError, match="shard_rows is 0"):
        shards(tmp_path / "x", records, size=0)
    result = program("-i", manifest, "-o", tmp_path / "o", "--shard-rows", 3)
    assert (result.exit_code, result.loaded) == (2, [])
    assert "--shard-rows is for outputs of several files" in result.stderr


def test_a_place_that_cannot_be_written_is_said_before_the_model_is_loaded(
    program, manifest, shards, records, tmp_path
):
    (tmp_path / "file").write_text("")
    result = program("-i", manifest, "-o", f"{tmp_path}/file/out/")
    assert (result.exit_code, result.loaded) == (2, [])
    assert "cannot be written" in result.stderr.splitlines()[-1]
    output = shards(f"{tmp_path}/out/", records)
    output.close()
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("")
    with pytest.raises(OptionError, match="cannot be written"):
        output.append(lines(records))


def test_two_runs_do_not_write_one_folder(records, tmp_path):
    """The second would delete the shards of the first, or miss them at the end."""
    pytest.importorskip("fcntl")
    for target in (f"{tmp_path}/out/", f"{tmp_path}/out.jsonl"):
        with ShardFolder(target, records, size=3, resume=False, overwrite=False) as first:
            first.append(lines(records)[:3])
            for how in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
                with pytest.raises(OptionError, match="another run is writing it"):
                    ShardFolder(target, records, size=3, **how)
            assert first.missing[0].path.endswith("part-00001-of-00003.jsonl")
        with ShardFolder(target, records, size=3, resume=True, overwrite=False) as second:
            assert second.done == 3
    assert sorted(file.name for file in tmp_path.rglob("*")) == [
        "in.jsonl", "out", "out.jsonl.parts", *["part-00000-of-00003.jsonl"] * 2,
    ]  # fmt: skip


HOLD = """
import sys, time
from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.shards import ShardFolder

records = read_manifest(sys.argv[1])
output = ShardFolder(sys.argv[2], records, size=3, resume=False, overwrite=False)
print("writing", flush=True)
time.sleep(600)
"""


def test_a_run_that_was_killed_holds_no_folder(shards, records, tmp_path):
    pytest.importorskip("fcntl")
    target = f"{tmp_path}/out/"
    command = [sys.executable, "-c", HOLD, str(tmp_path / "in.jsonl"), target]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout.readline() == b"writing\n"
            with pytest.raises(OptionError, match="another run is writing it"):
                shards(target, records, resume=True)
        finally:
            run.kill()
    shards(target, records, resume=True).append(lines(records))
    assert len(rows_in(tmp_path / "out")) == 3


def test_killed_while_the_shards_of_a_whole_file_are_deleted(shards, records, tmp_path):
    """Not one of them is done again."""
    target = tmp_path / "out.jsonl"
    shards(target, records).append(lines(records))
    for shard in shards(target, records, overwrite=True).missing:
        if shard.path.endswith("part-00000-of-00003.jsonl"):
            continue
        shard.write(lines(shard.records))
    again = shards(target, records, resume=True)
    assert (again.done, list(again.todo)) == (8, [])
    assert target.read_text().splitlines() == lines(records)
    again.close()
    assert [file.name for file in tmp_path.iterdir() if "out" in file.name] == ["out.jsonl"]


def test_shards_that_are_to_replace_a_file_are_no_rest_of_it(shards, records, tmp_path):
    target = tmp_path / "out.jsonl"
    shards(target, records).append(lines(records))
    last = shards(target, records, overwrite=True).missing[-1]
    last.write([render_row(record, Prediction("better")) for record in last.records])
    assert list(shards(target, records, resume=True).todo) == records[:6]


def test_two_runs_elsewhere_where_nothing_is_locked(shards, records):
    """The second does the work twice and ends as the first did."""
    fsspec = pytest.importorskip("fsspec", reason="the extra 'files' is not installed")
    store = fsspec.filesystem("memory")
    target = "memory://twice/out.jsonl"
    first, second = shards(target, records), shards(target, records)
    second.append(lines(records)[:3])
    first.append(lines(records))
    second.append(lines(records)[3:])
    assert second.done == 8
    assert store.find("/twice") == ["/twice/out.jsonl"]
    assert store.cat_file("/twice/out.jsonl").decode().splitlines() == lines(records)
    store.rm("/twice", recursive=True)

"""Where long jobs are kept, and the turn in which they begin."""

from __future__ import annotations

import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import OptionError
from ark_asr.server.jobs.records import Job, in_turn
from ark_asr.server.jobs.store import JobStore

SECRET = b"what was said in confidence " * 1000


def job(name="job_1", owner="ann", number=0, **more):
    return Job(name, number, owner, 1_790_000_000.0, "talk.wav", "ark-mini", **more)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path):
    store = JobStore(path)
    store.add(job(), (("language", "en"), ("model", "")), SECRET)
    yield store
    store.close()


def again(store, path):
    store.close()
    return JobStore(path)


def test_a_job_is_there_after_a_restart(store, path):
    assert store.take("job_1") == ((("language", "en"), ("model", "")), SECRET)
    assert store.go_on("job_1", "model 1") == 0
    store.add_piece("job_1", [{"text": "čau"}, {"text": "b"}], 2.5, 10.0)
    store.add_piece("job_1", [], 1.0, None)
    store = again(store, path)
    (found,) = store.jobs()
    assert found == job(number=1, status="running", done=2.5, clips=2)
    store.begin_again(0.0)
    assert store.jobs()[0].status == "queued"
    assert store.go_on("job_1", "model 1") == 2
    assert store.segments("job_1") == [(1, '{"text": "čau"}'), (2, '{"text": "b"}')]
    assert store.segments("job_1", after=1) == [(2, '{"text": "b"}')]
    # Done in another way, it has to be done anew.
    assert store.go_on("job_1", "model 2") == 0
    assert (store.segments("job_1"), store.jobs()[0].done) == ([], 0.0)
    store.close()


@pytest.mark.parametrize("how", ["end", "forget", "expire"])
def test_what_is_deleted_is_not_in_the_file(store, path, how):
    store.take("job_1")
    if how == "forget":
        store.forget("job_1")
    else:
        store.end("job_1", "cancelled", 5.0)
    if how == "expire":
        assert not store.expire(5.0)
        assert store.expire(5.1)
        assert store.jobs() == []
    # While it is open: a server that is killed closes nothing, and leaves its journal.
    left = {file.name for file in path.parent.iterdir() if SECRET[:28] in file.read_bytes()}
    assert left == set()
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("how", ["end", "forget"])
def test_what_is_deleted_is_overwritten_before_its_place_is_given_back(
    store, path, how, monkeypatch
):
    held, overwrite = [], JobStore._overwrite_journal

    def looking(self):
        overwrite(self)
        held.append({file.name: file.read_bytes() for file in path.parent.iterdir()})

    monkeypatch.setattr(JobStore, "_overwrite_journal", looking)
    size = path.stat().st_size
    store.end("job_1", "done", 5.0) if how == "end" else store.forget("job_1")
    before, after = held
    assert len(before[path.name]) == size  # nothing has been cut off yet
    assert len(after[path.name]) < size
    for files in held:
        assert not any(SECRET[:28] in content for content in files.values())


def test_a_change_is_made_once_though_its_place_cannot_be_given_back(store, monkeypatch):
    def full(_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "_overwrite_journal", full)
    store.add_piece("job_1", [{"text": "a"}], 2.5, 10.0)
    assert store.segments("job_1") == [(1, '{"text": "a"}')]
    assert store.jobs()[0].clips == 1


def test_what_a_killed_server_left_in_its_journal_is_overwritten(store, path):
    store.close()
    journal = path.with_name(f"{path.name}-journal")
    journal.write_bytes(bytes(512) + SECRET)  # of a change that was made: its header is zeros
    store = JobStore(path)
    assert journal.read_bytes() == b""
    assert store.jobs() == [job(number=1)]
    store.close()


def test_what_is_over_stays_so(store):
    store.end("job_1", "done", 1.0, result="{}", duration=3.0)
    store.end("job_1", "cancelled", 2.0)
    assert store.jobs()[0] == job(number=1, status="done", done=3.0, total=3.0)
    assert store.result("job_1") == "{}"
    assert store.take("job_1") is None
    assert store.waiting_bytes() == 0


def test_a_job_that_ends_the_server_is_given_up(store, path):
    for _ in range(2):
        store.take("job_1")
        store.begin_again(7.0)
        assert store.jobs()[0].status == "queued"
    store.take("job_1")
    store.add_piece("job_1", [], 1.0, None)  # but not one that gets on
    for _ in range(3):
        store.begin_again(7.0)
        assert store.jobs()[0].status == "queued"
        store.take("job_1")
    store.begin_again(7.0)
    assert (store.jobs()[0].status, store.jobs()[0].error["code"]) == ("failed", "crashed")


def test_a_file_of_something_else_is_left_alone(path, store, tmp_path):
    with pytest.raises(OptionError, match="locked"):
        JobStore(path)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE mine (it)")
    base.close()
    with pytest.raises(OptionError, match="holds no jobs"):
        JobStore(other)
    text = tmp_path / "text"
    text.write_text("no database, but a text that is long enough to be looked at as one" * 20)
    before = text.read_bytes()
    with pytest.raises(OptionError, match="cannot be used"):
        JobStore(text)
    assert text.read_bytes() == before
    with pytest.raises(OptionError, match="cannot be used"):
        JobStore(tmp_path / "no" / "folder")


owners = st.lists(st.sampled_from("abc"), max_size=12)


@given(owners, owners)
def test_owners_take_turns(waiting, running):
    jobs = [job(str(n), owner, n) for n, owner in enumerate(waiting)]
    turns = in_turn(reversed(jobs), [job(owner=owner) for owner in running])
    assert sorted(turns, key=lambda one: one.number) == jobs
    had = Counter(running)
    rounds = []
    for one in turns:
        rounds.append(had[one.owner])
        had[one.owner] += 1
    assert rounds == sorted(rounds)
    for owner in "abc":
        mine = [one.number for one in turns if one.owner == owner]
        assert mine == sorted(mine)

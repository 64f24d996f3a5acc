"""Long jobs when there is no room: on the disk, in the queue, or because they are given up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from types import SimpleNamespace

import pytest

from ark_asr.errors import OptionError
from ark_asr.server.app import create_app
from ark_asr.server.jobs import thread
from ark_asr.server.jobs.records import Job
from ark_asr.server.jobs.runner import Jobs, _Run
from ark_asr.server.jobs.store import JobStore
from ark_asr.server.problems import Problem
from ark_asr.server.settings import Settings
from ark_asr.server.upload import Form, Upload
from serving import PATIENCE, eventually, http, serving


def jobs_of(**settings):
    """Jobs that are taken, and not begun."""
    host = SimpleNamespace(name="ark-mini")
    jobs = Jobs(SimpleNamespace(settings=Settings(**settings), host=host), JobStore())
    jobs.closing = True
    return jobs


def wanted(data):
    return SimpleNamespace(asked=SimpleNamespace(file=Upload("a.wav", data), model=None))


@pytest.mark.parametrize("settings", [{"max_jobs": 2}, {"max_job_bytes": 1500}])
def test_who_comes_at_the_same_time_counts(settings):
    async def scenario():
        jobs = jobs_of(**settings)
        come = [jobs.add("ann", Form((), None), wanted(bytes(1000))) for _ in range(3)]
        found = await asyncio.gather(*come, return_exceptions=True)
        await jobs.close()
        return found

    taken, *refused = asyncio.run(scenario())
    assert taken["status"] == "queued"
    assert [error.status for error in refused if isinstance(error, Problem)] == [429, 429]


def test_a_recording_that_the_file_of_jobs_cannot_hold_is_refused():
    """SQLite's rows end at a gigabyte, whatever `--max-upload` says."""

    async def scenario():
        jobs = jobs_of()
        jobs._store._base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 9000)
        with pytest.raises(Problem) as refused:
            await jobs.add("ann", Form((), None), wanted(bytes(9000)))
        await jobs.add("ann", Form((), None), wanted(bytes(4000)))
        await jobs.close()
        return refused.value

    refused = asyncio.run(scenario())
    assert (refused.status, refused.code) == (413, "upload_too_large")
    assert "jobs hold up to" in refused.message


def test_nobody_can_begin_again_what_is_being_given_up():
    seen = []

    async def scenario():
        jobs = jobs_of()
        record = await jobs.add("ann", Form((), None), wanted(b"sound"))
        job = await jobs.get(record["id"], "ann")

        async def work():
            try:
                await asyncio.sleep(3600)
            finally:
                seen.append(jobs._store.jobs()[0].status)

        jobs._runs[job.id] = _Run(job, asyncio.create_task(work()))
        await asyncio.sleep(0)
        await jobs.cancel(job)
        await jobs.close()

    asyncio.run(scenario())
    assert seen == ["cancelled"]


def test_a_job_that_is_given_up_before_its_first_step_keeps_no_place():
    async def scenario():
        jobs = jobs_of()
        record = await jobs.add("ann", Form((), None), wanted(b"sound"))
        job = await jobs.get(record["id"], "ann")
        jobs.closing = False
        both = [asyncio.create_task(jobs._fill()), asyncio.create_task(jobs.cancel(job))]
        await asyncio.sleep(0)
        # The loop stands until the store has answered both: it hears of them in the same moment.
        jobs._thread._thread.submit(lambda: None).result()
        await asyncio.gather(*both)
        left = dict(jobs._runs)
        await jobs.close()
        return left

    assert asyncio.run(scenario()) == {}


def test_a_job_that_is_deleted_while_somebody_asks_for_it_is_unknown():
    async def scenario():
        jobs = jobs_of()
        record = await jobs.add("ann", Form((), None), wanted(b"sound"))
        look = jobs._store.jobs

        def looking():
            found = look()
            jobs._store.forget(record["id"])
            return found

        jobs._store.jobs = looking
        before = await jobs.record(record["id"], "ann")
        with pytest.raises(Problem) as unknown:
            await jobs.record(record["id"], "ann")
        await jobs.close()
        return before["id"] == record["id"], unknown.value.code

    assert asyncio.run(scenario()) == (True, "job_not_found")


def test_a_full_disk_is_told_to_who_sends_and_waited_for_by_what_runs(
    hello, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(thread, "_PATIENCE", 0.05)
    full = [sqlite3.OperationalError("database or disk is full") for _ in range(6)]
    for name in ("take", "go_on", "add_piece", "end", "expire"):
        work = getattr(JobStore, name)

        def writing(*values, work=work, **named):
            if full:
                raise full.pop()
            return work(*values, **named)

        monkeypatch.setattr(JobStore, name, writing)
    with serving(jobs=tmp_path / "jobs.db") as served:
        files = {"file": ("a.flac", hello.read_bytes())}
        answer = http.post(f"{served.url}/jobs", files=files)
        assert answer.status_code == 202
        job = f"{served.url}/jobs/{answer.json()['id']}"
        assert eventually(lambda: http.get(job).json()["status"] == "done")
        assert not full
        store = served.app.state.hang_up.__self__._store
        (pages,) = store._base.execute("PRAGMA page_count").fetchone()
        store._base.execute(f"PRAGMA max_page_count = {pages}")
        answer = http.post(f"{served.url}/jobs", files=files)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "jobs_not_written")
        assert "disk is full" in answer.json()["error"]["message"]
        assert len(http.get(f"{served.url}/jobs").json()["data"]) == 1
    assert "jobs_not_written" in caplog.text


def test_a_file_that_cannot_be_written_is_told_before_anything_is_begun(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    store.add(Job("job_1", 0, "ann", 0.0, "a.wav", "ark-mini"), (), b"sound")
    store.take("job_1")
    store._base.execute("PRAGMA query_only = ON")
    with pytest.raises(OptionError, match="cannot be written"):
        store.begin_again(0.0)
    store.close()


def test_a_server_that_is_stopped_in_order_does_not_count_against_a_job(tmp_path, monkeypatch):
    """It may have waited for others all day; only what ends a server is given up."""

    async def lives(path):
        for _ in range(4):
            begun = asyncio.Event()

            async def wait(*_, begun=begun):
                begun.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(Jobs, "_transcribe", wait)
            store = JobStore(path)
            store.begin_again(0.0)
            jobs = Jobs(SimpleNamespace(settings=Settings()), store)
            await jobs.start()
            await asyncio.wait_for(begun.wait(), PATIENCE)
            await jobs.close()

    store = JobStore(tmp_path / "jobs.db")
    store.add(Job("job_1", 0, "ann", 0.0, "a.wav", "ark-mini"), (), b"sound")
    store.close()
    asyncio.run(lives(tmp_path / "jobs.db"))
    store = JobStore(tmp_path / "jobs.db")
    assert store.jobs()[0].status == "queued"
    store.close()


def test_a_server_that_cannot_start_leaves_no_thread(monkeypatch):
    async def fail(_):
        raise OSError("no")

    monkeypatch.setattr(Jobs, "start", fail)
    before = set(threading.enumerate())

    async def scenario():
        app = create_app(Settings(threads=1))
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(OSError, match="no"):
        asyncio.run(scenario())
    assert not [one for one in set(threading.enumerate()) - before if one.name == "engine-0"]

"""Processes that touch uploads: what they cannot do, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hostile_decoders as hostile
from ark_asr.errors import AudioDecodeError
from ark_asr.server import ear, forks
from ark_asr.server.confined import Confined
from ark_asr.server.problems import Problem
from programs import started
from serving import PATIENCE, eventually

pytestmark = pytest.mark.skipif(not forks.FORKS, reason="processes are started anew here")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or limits of Linux")


def gone(pid):
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")  # of an orphan that the first process never waits for
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


def stem():
    """The process that others are forked from."""
    return forks._forks.stem()._process.pid


def hear(upload):
    """The process, and all that it says of a recording."""
    order = ear.Order("a.wav", 30.0, 3600.0, 2 << 30)
    process = Confined(ear.hear, order, "a.wav", upload, PATIENCE, longest=1 << 24)
    return process, list(until_done(process.messages(lambda: False)))


def until_done(messages):
    for message in messages:
        yield message
        if message[:1] == ear.DONE:
            messages.close()


def test_each_upload_has_a_process_of_its_own_and_none_is_left(hello):
    upload = hello.read_bytes()
    with ThreadPoolExecutor(8) as threads:
        heard = list(threads.map(lambda _: hear(upload), range(16)))
    first = heard[0][1]
    assert [message[:1] for message in first].count(ear.PIECE) == 1
    assert all(messages == first for _, messages in heard)
    pids = {process.pid for process, _ in heard}
    assert len(pids) == 16
    assert all(map(gone, pids))


def test_memory_is_bounded_to_the_megabyte():
    (taken,) = hostile.said(hostile.devour)
    assert 0 < int(taken) < hostile.GIGABYTE // hostile.MEGABYTE


@linux
def test_where_memory_is_all_used_a_decoder_ends_before_the_server():
    assert list(hostile.said(hostile.tell_standing)) == [b"1000"]
    standing = Path("/proc/self/oom_score_adj").read_text()  # 1000 already, in some containers
    assert Path(f"/proc/{stem()}/oom_score_adj").read_text() == standing


def test_processor_time_is_bounded():
    with pytest.raises(AudioDecodeError, match="crashed on it"):
        list(hostile.said(hostile.spin, stall=10 * PATIENCE))


def test_nothing_can_be_written(tmp_path):
    file = tmp_path / "upload"
    assert list(hostile.said(hostile.write, file)) == [b"OSError"]
    assert not file.exists() or file.stat().st_size == 0


def test_a_message_does_not_take_the_servers_memory():
    with pytest.raises(AudioDecodeError, match="crashed on it"):
        list(hostile.said(hostile.ramble))
    (message,) = hostile.said(hostile.ramble, longest=4 << 20)
    assert len(message) == 4 << 20


def test_time_without_a_message_is_bounded():
    process = Confined(hostile.hang, None, "a.wav", b"upload", PATIENCE)
    messages = process.messages(lambda: False)
    pid = int(next(messages))
    process._stall = 1.0  # from here on: it may take longer to come to life
    with pytest.raises(AudioDecodeError, match="no sound came out of it for 1 s"):
        next(messages)
    assert gone(pid)


def test_who_is_not_waited_for_ends():
    left = []
    process = Confined(hostile.hang, None, "a.wav", b"upload", PATIENCE)
    messages = process.messages(lambda: bool(left))
    pid = int(next(messages))
    assert not gone(pid)
    left.append(True)
    assert list(messages) == []
    assert gone(pid)


def test_an_error_nobody_expects_ends_nobody_else_and_tells_nothing_private(
    capfd, caplog, monkeypatch
):
    # What it prints goes into a file here, as that of `serve start`, which it may not write.
    monkeypatch.setattr(forks, "_forks", forks._Forks())
    other = hostile.said(hostile.hang)
    pid = int(next(other))
    with pytest.raises(AudioDecodeError, match="crashed on it"):
        list(hostile.said(hostile.fail, upload=b"a secret"))
    list(hostile.said(hostile.ramble, longest=4 << 20))  # the next order, after all of that
    assert not gone(pid)
    other.close()
    forks._forks._close()
    (record,) = (record for record in caplog.records if record.message == "decoder_failed")
    assert "in fail" in record.where
    assert record.where.endswith("ValueError")
    assert "secret" not in f"{vars(record)}{capfd.readouterr()}"


@linux
def test_a_decoder_has_no_file_but_its_own_pipe():
    several = [hostile.said(hostile.tell_files) for _ in range(3)]
    # libffi keeps itself open for its trampolines, where it is built so.
    told = [next(messages).decode().split() for messages in several]
    opened = [[name for name in files if "/libffi.so" not in name] for files in told]
    for messages in several:
        messages.close()
    assert [len(files) for files in opened] == [1, 1, 1], opened
    assert len({files[0] for files in opened}) == 3
    assert all(files[0].startswith("socket:") for files in opened)


@linux
def test_no_upload_comes_into_the_process_that_others_are_forked_from(talk):
    sound = talk.read_bytes()
    piece = next(message for message in hear(sound)[1] if message[:1] == ear.PIECE)
    marks = [heard[len(heard) // 2 :][:32] for heard in (sound, piece)]
    assert all(len(set(mark)) > 8 for mark in marks), "that is silence"
    memory = Path(f"/proc/{stem()}/mem")
    looked = 0
    try:
        with memory.open("rb", 0) as file:
            for line in Path(f"/proc/{stem()}/maps").read_text().splitlines():
                span, rights, *_ = line.split()
                if not rights.startswith("rw") or line.endswith(("[vvar]", "[vsyscall]")):
                    continue
                first, last = (int(one, 16) for one in span.split("-"))
                file.seek(first)
                held = file.read(last - first)
                looked += len(held)
                assert not any(mark in held for mark in marks)
    except PermissionError:
        pytest.skip("this system lets nobody look into other processes")
    assert looked > 1 << 20


def test_the_process_they_are_forked_from_is_replaced_when_it_is_killed(hello):
    before = stem()
    at_work = hostile.said(hostile.hang)
    orphan = int(next(at_work))
    os.kill(before, signal.SIGKILL)
    assert hear(hello.read_bytes())[1][-1][:1] == ear.DONE
    assert not gone(orphan)
    at_work.close()
    assert eventually(lambda: gone(orphan))
    assert stem() != before
    assert gone(before)
    assert hear(hello.read_bytes())[1][-1][:1] == ear.DONE


def test_who_finds_late_that_it_was_given_up_gets_the_next_one(monkeypatch):
    monkeypatch.setattr(forks, "_forks", forks._Forks())
    forks._forks.stem().close()  # by another request, which has found that it was killed
    messages = hostile.said(hostile.hang)
    assert int(next(messages))
    messages.close()
    forks._forks._close()


def test_no_room_for_a_process_is_not_the_files_fault(monkeypatch):
    monkeypatch.setattr(forks._Stem, "fork", lambda *_: -1)
    with pytest.raises(Problem, match="no room for another process") as refused:
        next(hostile.said(hostile.hang))
    assert refused.value.status == 503


@pytest.mark.parametrize("end", ["exit", "SIGTERM", "SIGKILL"])
def test_with_the_server_all_of_them_end(end):
    command = [sys.executable, "-c", "import hostile_decoders; hostile_decoders.main()"]
    path = {"PYTHONPATH": str(Path(hostile.__file__).parent)}
    with started(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | path
    ) as server:
        pids = list(map(int, server.stdout.readline().split()))
        assert not any(map(gone, pids))
        if end == "exit":
            server.stdin.write("\n")
            server.stdin.flush()
        else:
            server.send_signal(getattr(signal, end))
        # Its end comes when the last process has gone that has this file from the server.
        assert server.communicate(timeout=PATIENCE)[0] == ""
    assert len(pids) == 2

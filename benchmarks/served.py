"""A real server in processes of its own, and what it takes of the machine (Linux: reads /proc)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ark_asr.evaluation.machine import load_average, this_machine

ROOT = Path(__file__).resolve().parent.parent
HELLO, NUMBERS, MINUTE = (ROOT / "samples" / f"{name}.flac" for name in
                          ("hello", "numbers", "minute"))  # fmt: skip
TRANSCRIPTIONS = "/v1/audio/transcriptions"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Taken:
    """What the server and all processes it has started take at one moment.

    Attributes:
        memory: MB of them together; pages that they share are counted once.
        processor: Seconds since the start, those of processes that have ended included.
        processes: How many there are.
        files: Open files, sockets and pipes of the server itself.
        work: Requests, clips and live sessions that it still has.
    """

    memory: float
    processor: float
    processes: int
    files: int
    work: int


class Served:
    """A server that runs.

    Attributes:
        url: Where.
        pid: Of the server itself; also the number of the session that all its processes belong to.
        temporary: The folder that it takes for temporary files.
        log: Its standard error.
    """

    def __init__(self, process: subprocess.Popen, temporary: Path, log: Path) -> None:
        self.pid, self.temporary, self.log = process.pid, temporary, log
        self._process = process
        self.url = self._wait_until_there()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def ended(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.poll()

    def taken(self) -> Taken:
        pids = processes(self.pid)
        return Taken(
            sum(map(_memory, pids)) / 1e6,
            sum(map(_processor, pids)),
            len(pids),
            len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            self.work(),
        )

    def work(self) -> int:
        page = httpx.get(f"{self.url}/metrics", timeout=60).text
        waiting = r"^ark_asr_(?:queue_requests|queue_clips|live_sessions|jobs_running) (\S+)$"
        return int(sum(map(float, re.findall(waiting, page, re.MULTILINE))))

    def settled(self, than: Taken, seconds: float = 60) -> Taken:
        """What it takes once nothing is left of what it did, or when waiting for that is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            taken = self.taken()
            if (taken.processes, taken.files, taken.work) <= (than.processes, than.files, 0):
                break
            time.sleep(0.2)
        return taken

    def left_files(self) -> list[str]:
        """Temporary files, but for the sockets with which it starts processes."""
        return [str(path) for path in self.temporary.rglob("*") if path.is_file()]

    def kill(self) -> int:
        """SIGKILL; how many of its processes are there 10 s later."""
        self._process.kill()
        self._process.wait()
        return len(self._gone(10))

    def stop(self) -> int:
        """SIGTERM; how many of its processes are there when it has ended."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        return len(self._gone(10))

    def _gone(self, seconds: float) -> list[int]:
        until = time.monotonic() + seconds
        while (pids := processes(self.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        return pids

    def _wait_until_there(self) -> str:
        for _ in range(1200):
            found = re.search(r"serving at (http://\S+)", self.log.read_text())
            if self.ended is not None:
                raise SystemExit(f"the server did not start: {self.log.read_text()}")
            if found and httpx.get(f"{found[1]}/ready").status_code == 200:
                return found[1]
            time.sleep(0.1)
        raise SystemExit("the server did not come up in two minutes")


@contextmanager
def serving(*options: object):
    """``ark-asr serve`` on a free port of the loopback address; ended in any case."""
    with tempfile.TemporaryDirectory() as folder:
        log, temporary = Path(folder, "log"), Path(folder, "tmp")
        temporary.mkdir()
        command = [sys.executable, "-m", "ark_asr", "serve", "--port", "0", *map(str, options)]
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True,
                env=os.environ | {"TMPDIR": str(temporary)},
            )  # fmt: skip
        try:
            yield Served(process, temporary, log)
        finally:
            process.kill()
            process.wait()
            for pid in processes(process.pid):
                os.kill(pid, signal.SIGKILL)


def processes(session: int) -> list[int]:
    """All processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        state = _stat(int(entry.name))
        if state and state[3] == str(session) and state[0] != "Z":
            found.append(int(entry.name))
    return found


def started_by(parent: int) -> float:
    """Seconds of the processor that the processes took which another has started."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return sum(_processor(pid) for pid in pids if _stat(pid)[1:2] == [str(parent)])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _processor(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def _memory(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def introduce(what: str) -> None:
    """What was run where, on how busy a machine."""
    machine = this_machine()
    versions = machine.versions
    print(f"{what}\nark-mini (int8), ark-asr {versions['ark-asr']}, onnxruntime "
          f"{versions['onnxruntime']}, Python {versions['python']}; {machine.cores} cores of "
          f"{machine.cpu}; load before {load_average():.1f}\n", flush=True)  # fmt: skip


def conclude() -> None:
    print(f"\nload afterwards {load_average():.1f}")

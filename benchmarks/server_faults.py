"""What a server makes of damaged files, slow and leaving clients, and of being killed.

    python benchmarks/server_faults.py [--files 1000] [--seed 0] [--first 0] [--only PART ...]

A server of its own is started on the loopback address, and ended. Each part asserts that there was
no crash and no answer of 5xx, and that nothing is left behind: no request, no process, no open
file, no temporary file, and not more memory than ``--growth``. The exit code is 1 if one of that is
not so.

- files: valid recordings in many containers, damaged in many ways
- slow: clients that send byte after byte, or nothing
- halves: uploads that end in the middle
- leavers: clients that hang up before their answer
- decoders: whoever decodes an upload is killed
- killed: the server itself is, in the middle of long jobs
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from websockets.sync.client import connect

from fuzzed import Fuzzed, all_fuzzed, valid_files
from served import (
    HELLO,
    MINUTE,
    TRANSCRIPTIONS,
    Served,
    conclude,
    introduce,
    processes,
    serving,
)

# What is asked of each file in turn: the route, and its fields.
ASKED = (
    (TRANSCRIPTIONS, {}),
    (TRANSCRIPTIONS, {"allow_damage": "true", "response_format": "verbose_json"}),
    (TRANSCRIPTIONS, {"allow_damage": "true", "stream": "true"}),
    ("/asr", {}),
    (TRANSCRIPTIONS, {"response_format": "srt", "chunking_strategy": "auto"}),
)
CLIENTS = 4
OPTIONS = ("--max-queue", 64, "--threads", 1)
KILLS = 5


class Faults:
    """What went wrong so far."""

    def __init__(self) -> None:
        self.count = 0

    def expect(self, fine: bool, what: str) -> None:
        if not fine:
            self.count += 1
            print(f"  FAULT: {what}", flush=True)


def files(served: Served, faults: Faults, options: argparse.Namespace) -> str:
    """Each damaged file to one of the routes; every answer must be whole, and none 5xx."""
    valid = valid_files(HELLO)
    numbered = enumerate(all_fuzzed(valid, options.seed, options.first, options.files))

    def one(numbered: tuple[int, Fuzzed]) -> tuple[str, str]:
        number, file = numbered
        route, fields = ASKED[number % len(ASKED)]
        began = time.monotonic()
        outcome = posted(served, route, file, fields)
        place = f"file {options.first + number} ({file.was}, {file.kind}, {route} {fields})"
        faults.expect(outcome[:1] in ("2", "4"), f"{place}: {outcome}")
        faults.expect(served.ended is None, f"{place}: the server has ended")
        took = time.monotonic() - began
        faults.expect(took < options.patience, f"{place}: took {took:.0f} s")
        return file.kind, outcome

    with ThreadPoolExecutor(CLIENTS) as threads:
        seen = Counter(threads.map(one, numbered))
    for kind in dict.fromkeys(kind for kind, _ in seen):
        told = ", ".join(f"{outcome} {count}" for (of, outcome), count in sorted(seen.items())
                         if of == kind)  # fmt: skip
        print(f"  {kind:10} {told}")
    return f"{options.files} damaged files of {len(valid)} containers"


def posted(served: Served, route: str, file: Fuzzed, fields: dict[str, str]) -> str:
    """Status and code of the answer; that of events as they end."""
    try:
        answer = httpx.post(
            served.url + route, files={"file": (file.name, file.data)}, data=fields, timeout=180
        )
    except httpx.HTTPError as error:
        return f"no answer: {error!r}"
    if answer.status_code != 200:
        error = answer.json().get("error") or {}
        return f"{answer.status_code} {error.get('code', '')}".strip()
    if fields.get("stream") != "true":
        return "200"
    last = json.loads(answer.text.strip().rpartition("data: ")[2])
    if last["type"] != "error":
        return "200"
    fine = last["error"]["type"] == "invalid_request_error"
    return f"{'4xx' if fine else '5xx'} event {last['error']['code']}"


def slow(served: Served, faults: Faults, _: argparse.Namespace) -> str:
    """Who sends byte after byte, or nothing, keeps nobody else waiting."""
    whole = request(served, HELLO.read_bytes())
    connections = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
    creeping, silent = connections[:20], connections[20:]
    for connection in creeping:
        connection.sendall(whole[:500])
    answers = []
    for place in range(500, 510):
        for connection in creeping:
            connection.sendall(whole[place : place + 1])
        answers.append(posted(served, TRANSCRIPTIONS, whole_file(HELLO), {}))
    faults.expect(set(answers) == {"200"}, f"others got {Counter(answers)}")
    for connection in creeping:  # at last they send the rest, and get what everybody gets
        connection.sendall(whole[510:])
    heads = Counter(connection.recv(15).decode() for connection in creeping)
    faults.expect(set(heads) == {"HTTP/1.1 200 OK"}, f"they got {heads}")
    for connection in connections:
        connection.close()
    return f"{len(creeping)} clients that creep, {len(silent)} that say nothing"


def halves(served: Served, _: Faults, options: argparse.Namespace) -> str:
    """Uploads that end in the middle, politely and not."""
    whole, rng = request(served, MINUTE.read_bytes()), random.Random(options.seed)
    for number in range(100):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.sendall(whole[: rng.randrange(1, len(whole))])
        hang_up(connection, rudely=bool(number % 2))
    return "100 uploads that ended in the middle"


def leavers(served: Served, _: Faults, options: argparse.Namespace) -> str:
    """Whole requests of whom nobody waits for the answer, live sessions and events included."""
    rng = random.Random(options.seed)
    for number in range(40):
        fields = {"stream": "true"} if number % 4 < 2 else {}
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.sendall(request(served, MINUTE.read_bytes(), **fields))
        time.sleep(rng.random())
        hang_up(connection, rudely=bool(number % 2))
    for number in range(10):
        with connect(f"ws://127.0.0.1:{served.port}/live") as live:
            live.send(rng.randbytes(32_000 * 3))
            time.sleep(rng.random())
            if number % 2:
                hang_up(live.socket, rudely=True)
    return "50 clients that left before their answer, 10 of them live"


def decoders(served: Served, faults: Faults, _: argparse.Namespace) -> str:
    """Every process but the server is killed again and again while clients send good files."""
    seen = Counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = [threads.submit(posted, served, TRANSCRIPTIONS, whole_file(MINUTE), {})
                   for _ in range(20)]  # fmt: skip
        while not all(answer.done() for answer in answers):
            for pid in set(processes(served.pid)) - {served.pid}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    seen["processes killed"] += 1
            time.sleep(0.5)
    seen |= Counter(answer.result() for answer in answers)
    faults.expect(not any(what.startswith("5") for what in seen), f"answers: {seen}")
    after = [posted(served, TRANSCRIPTIONS, whole_file(HELLO), {}) for _ in range(3)]
    faults.expect(after == ["200"] * 3, f"afterwards good files got {after}")
    return ", ".join(f"{what}: {count}" for what, count in sorted(seen.items()))


def killed(faults: Faults, options: argparse.Namespace) -> str:
    """SIGKILL at random moments of four long jobs; they end as if nothing had been."""
    rng = random.Random(options.seed)
    with TemporaryDirectory() as folder:
        kept = ("--jobs", Path(folder, "jobs.db"), *OPTIONS)
        with serving(*kept) as served:
            expected = json.dumps(words(served, begun(served)))
            names = [begun(served) for _ in range(4)]
            time.sleep(rng.random())
            served.kill()
        for _ in range(KILLS - 1):
            with serving(*kept) as served:
                wait_for_progress(served, names)
                time.sleep(rng.random())
                left = served.kill()
                faults.expect(left == 0, f"{left} processes outlived the server")
        with serving(*kept) as served:
            found = {json.dumps(words(served, name)) for name in names}
            faults.expect(found == {expected}, "a job that was interrupted has another result")
            for job in httpx.get(f"{served.url}/jobs").json()["data"]:
                httpx.delete(f"{served.url}/jobs/{job['id']}")
        spoken = json.loads(expected)[0][0].encode()
        left_words = [path.name for path in Path(folder).iterdir() if spoken in path.read_bytes()]
        faults.expect(not left_words, f"words of deleted jobs are in {left_words}")
    return f"4 jobs, the server killed {KILLS} times: same words and times as undisturbed"


def begun(served: Served) -> str:
    return httpx.post(f"{served.url}/jobs", files={"file": MINUTE.open("rb")}).json()["id"]


def words(served: Served, name: str) -> list:
    """Text and times of a job's segments, when it is done."""
    httpx.get(f"{served.url}/jobs/{name}/events", timeout=600)
    answer = httpx.get(f"{served.url}/jobs/{name}/result", timeout=60)
    return [(one["text"], one["start"], one["end"]) for one in answer.json()["segments"]]


def wait_for_progress(served: Served, names: list[str]) -> None:
    """Until each job is a clip further or over: one that never is would be given up."""
    for name in names:
        first = job = httpx.get(f"{served.url}/jobs/{name}").json()
        while (
            job["status"] in ("queued", "running") and job["seconds_done"] == first["seconds_done"]
        ):
            time.sleep(0.1)
            job = httpx.get(f"{served.url}/jobs/{name}").json()


def whole_file(path: Path) -> Fuzzed:
    return Fuzzed("whole", path.name, path.name, path.read_bytes())


def request(served: Served, data: bytes, **fields: str) -> bytes:
    """All bytes of a request."""
    form = httpx.Request(
        "POST", served.url + TRANSCRIPTIONS, files={"file": ("a.flac", data)}, data=fields
    )
    body = form.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
    return f"POST {TRANSCRIPTIONS} HTTP/1.1\r\n{head}\r\n".encode() + body


def hang_up(connection: socket.socket, *, rudely: bool) -> None:
    if rudely:  # a reset instead of an end
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


PARTS: dict[str, Callable[[Served, Faults, argparse.Namespace], str]] = {
    "files": files, "slow": slow, "halves": halves, "leavers": leavers, "decoders": decoders,
}  # fmt: skip


def in_turn(faults: Faults, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """All parts: their names, and what they did."""
    with serving(*OPTIONS) as served:
        for data in valid_files(HELLO).values():  # every decoder is loaded, every thread is there
            posted(served, TRANSCRIPTIONS, Fuzzed("", "", "a", data), {})
        with ThreadPoolExecutor(32) as threads:
            list(threads.map(lambda _: posted(served, TRANSCRIPTIONS, whole_file(HELLO), {}),
                             range(64)))  # fmt: skip
        time.sleep(6)  # connections that are kept alive end after 5 s
        before = served.taken()
        for name in [part for part in PARTS if part in options.only]:
            began = time.monotonic()
            told = PARTS[name](served, faults, options)
            after = served.settled(before)
            for what in ("processes", "files", "work"):
                left = getattr(after, what) - getattr(before, what) * (what != "work")
                faults.expect(left <= 0, f"{what} left behind: {left}")
            faults.expect(served.left_files() == [], f"left behind: {served.left_files()}")
            grown = after.memory - before.memory
            faults.expect(grown <= options.growth, f"{grown:.0f} MB more memory")
            told += f"; {time.monotonic() - began:.0f} s"
            yield name, f"{told}, memory {grown:+.0f} MB of {before.memory:.0f}"
        errors = [line for line in served.log.read_text().splitlines() if '"error"' in line]
        faults.expect(not errors, f"errors in the log, the first: {errors[:1]}")
        left = served.stop()
        faults.expect(left == 0, f"{left} processes outlived the server")
        yield "end", f"SIGTERM: exit code {served.ended}"
    if "killed" in options.only:
        yield "killed", killed(faults, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin at this file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--growth", type=float, default=48, metavar="MB")
    parser.add_argument("--patience", type=float, default=60, metavar="S", help="for one file")
    parts = (*PARTS, "killed")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and the server with it
    introduce(" ".join(["benchmarks/server_faults.py", *sys.argv[1:]]))
    faults = Faults()
    for name, told in in_turn(faults, options):
        print(f"{name}: {told}", flush=True)
    conclude()
    print(f"faults: {faults.count}")
    raise SystemExit(faults.count > 0)


if __name__ == "__main__":
    main()

"""How many clients a server stands, how long they wait, and whether its memory stays flat.

    python benchmarks/server_load.py clips [--clients 1 4 16 64] [--batch-size 1 8] [--seconds 20]
    python benchmarks/server_load.py mixed [--minutes 30]

A server of its own is started on the loopback address, and ended; the clients share its cores.

``clips``: short recordings, sent by so many clients at once, each the next when it has its answer.
One client and ``--batch-size 1`` is what a server does that takes one request at a time. The
processor's time is that of the server with its decoders, for each request.

``mixed``: clients with short clips, events, word times, a minute to be cut, live captions at the
pace of speech, long jobs, damaged files, and some who hang up, all at once. Memory is that of all
processes together. The exit code is 1 if an answer was not what it must be, if work is left, or if
memory has grown by more than ``--growth`` between the second tenth of the time and the last.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import httpx
from websockets.sync.client import connect

from ark_asr.audio import load_audio
from served import HELLO, MINUTE, NUMBERS, TRANSCRIPTIONS, Served, conclude, introduce, serving
from server_faults import hang_up, request

CLIPS = (HELLO, NUMBERS)
RATE = 16_000
BLOCK = 0.1  # seconds of sound in one live message


def clips(options: argparse.Namespace) -> int:
    """A table of throughput and latency; how many answers were wrong."""
    sent = [(path.name, path.read_bytes()) for path in CLIPS]
    mean = statistics.mean(load_audio(path).duration for path in CLIPS)
    print(f"clips of {mean:.1f} s on average, {options.seconds:g} s for each row, "
          f"{options.threads} thread(s)\n")  # fmt: skip
    print(f"{'batch':>5}{'clients':>9}{'requests/s':>12}{'x real time':>13}{'median s':>10}"
          f"{'95 % s':>8}{'processor s':>13}")  # fmt: skip
    room = 2 * max(options.clients)  # one address may have half of the queue
    wrong = Counter()
    for batch in options.batch_size:
        settings = ("--batch-size", batch, "--max-queue", room, "--threads", options.threads)
        with serving(*settings) as it:
            for clients in options.clients:
                before = it.taken().processor
                took, seconds, statuses = pressed(it, sent, clients, options.seconds)
                spent = (it.taken().processor - before) / len(took)
                wrong += Counter({status: n for status, n in statuses.items() if status != 200})
                rate = len(took) / seconds
                late = took[int(len(took) * 0.95)]
                print(f"{batch:>5}{clients:>9}{rate:>12.2f}{rate * mean:>13.1f}"
                      f"{statistics.median(took):>10.2f}{late:>8.2f}{spent:>13.3f}",
                      flush=True)  # fmt: skip
    print(f"\nanswers that were not 200: {dict(wrong) or 'none'}")
    return wrong.total()


def pressed(
    served: Served, sent: list[tuple[str, bytes]], clients: int, seconds: float
) -> tuple[list[float], float, Counter]:
    """Latencies in ascending order, seconds until the last answer, and what the answers were."""
    began = time.perf_counter()

    def client(first: int) -> list[tuple[float, int]]:
        found = []
        with httpx.Client(base_url=served.url, timeout=300) as http:
            while not found or time.perf_counter() - began < seconds:
                at = time.perf_counter()
                file = sent[(first + len(found)) % len(sent)]
                status = http.post(TRANSCRIPTIONS, files={"file": file}).status_code
                found.append((time.perf_counter() - at, status))
        return found

    with ThreadPoolExecutor(clients) as threads:
        found = list(chain.from_iterable(threads.map(client, range(clients))))
    took = sorted(seconds for seconds, _ in found)
    return took, time.perf_counter() - began, Counter(status for _, status in found)


class Crowd:
    """Clients of many kinds.

    Attributes:
        done: How often each kind has had what it must have.
        wrong: What else there was.
    """

    def __init__(self, served: Served, until: float) -> None:
        self._served, self._until = served, until
        self._http = httpx.Client(base_url=served.url, timeout=600)
        self.done, self.wrong = Counter(), Counter()
        self._lock = threading.Lock()

    def clients(self) -> list[Callable[[], None]]:
        return [self.short, self.short, self.short, self.words, self.events, self.minute, self.live,
                self.job, self.damaged, self.leaver]  # fmt: skip

    def run(self, client: Callable[[], None]) -> None:
        """Again and again until the time is over."""
        while time.monotonic() < self._until:
            try:
                client()
            except Exception as error:  # noqa: BLE001 - it is told at the end
                self._note(client.__name__, repr(error)[:200])
            else:
                self._note(client.__name__)

    def _note(self, kind: str, wrong: str | None = None) -> None:
        with self._lock:
            self.done[kind] += wrong is None
            if wrong is not None:
                self.wrong[f"{kind}: {wrong}"] += 1

    def _sent(self, path, status: int = 200, data: bytes | None = None, **fields: str) -> str:
        file = (path.name, path.read_bytes() if data is None else data)
        answer = self._http.post(TRANSCRIPTIONS, files={"file": file}, data=fields)
        if answer.status_code != status:
            raise ValueError(f"{answer.status_code}: {answer.text}")
        return answer.text

    def short(self) -> None:
        self._sent(HELLO)

    def words(self) -> None:
        fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        if '"words"' not in self._sent(NUMBERS, **fields):
            raise ValueError("no words")

    def events(self) -> None:
        if "transcript.text.done" not in self._sent(HELLO, stream="true"):
            raise ValueError("no end")

    def minute(self) -> None:
        self._sent(MINUTE, response_format="srt")

    def damaged(self) -> None:
        self._sent(HELLO, 400, HELLO.read_bytes()[:20_000])
        time.sleep(1)

    def leaver(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._served.port))
        connection.sendall(request(self._served, MINUTE.read_bytes()))
        time.sleep(1)
        hang_up(connection, rudely=False)

    def live(self) -> None:
        sound = (load_audio(NUMBERS).samples * 32767).astype("<i2").tobytes()
        step = 2 * round(BLOCK * RATE)
        with connect(f"ws://127.0.0.1:{self._served.port}/live") as socket:
            for first in range(0, len(sound), step):
                socket.send(sound[first : first + step])
                time.sleep(BLOCK)
            socket.send('{"type": "end"}')
            if not any('"final"' in event for event in socket):
                raise ValueError("no final")

    def job(self) -> None:
        files = {"file": (MINUTE.name, MINUTE.read_bytes())}
        name = self._http.post("/jobs", files=files).raise_for_status().json()["id"]
        if "event: done" not in self._http.get(f"/jobs/{name}/events").text:
            raise ValueError("not done")
        self._http.delete(f"/jobs/{name}").raise_for_status()


def mixed(options: argparse.Namespace) -> int:
    """Samples of memory while all kinds of clients are there; how many faults there were."""
    seconds = options.minutes * 60
    with serving("--max-queue", 64, "--threads", options.threads) as served:
        warm = Crowd(served, 0)
        for client in warm.clients():
            client()
        before = served.settled(served.taken(), seconds=10)
        crowd = Crowd(served, time.monotonic() + seconds)
        with ThreadPoolExecutor(len(crowd.clients())) as threads:
            for client in crowd.clients():
                threads.submit(crowd.run, client)
            sampled = list(samples(served, seconds, options.every))
        time.sleep(6)  # connections that are kept alive end after 5 s
        after = served.settled(before)
        errors = served.log.read_text().count('"level": "error"')
        left = served.stop()
    tenth = max(len(sampled) // 10, 1)
    early, late = (statistics.median(part) for part in
                   (sampled[tenth : 2 * tenth] or sampled[:1], sampled[-tenth:]))  # fmt: skip
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(crowd.done.items()))
    print(f"\nanswered: {counts}\nwrong: {dict(crowd.wrong) or 'none'}")
    print(f"errors in the log: {errors}")
    print(f"memory: {early:.0f} MB in the second tenth, {late:.0f} in the last, {max(sampled):.0f} "
          f"at most; idle {before.memory:.0f} before, {after.memory:.0f} after")  # fmt: skip
    print(f"left: work {after.work}, processes {after.processes - before.processes:+}, open files "
          f"{after.files - before.files:+}; {left} processes after the end")  # fmt: skip
    more = after.work + max(after.processes - before.processes, 0) + left
    return crowd.wrong.total() + errors + more + (late - early > options.growth)


def samples(served: Served, seconds: float, every: float) -> Iterator[float]:
    """MB at regular moments; all that is known then is printed."""
    print(f"{'minute':>6}{'memory MB':>11}{'processes':>11}{'open files':>12}{'requests':>10}"
          f"{'processor %':>13}")  # fmt: skip
    began, last = time.monotonic(), served.taken().processor
    for number in range(1, int(seconds // every) + 1):
        time.sleep(max(began + number * every - time.monotonic(), 0))
        taken = served.taken()
        busy = 100 * (taken.processor - last) / every
        print(f"{number * every / 60:>6.1f}{taken.memory:>11.0f}{taken.processes:>11}"
              f"{taken.files:>12}{taken.work:>10}{busy:>13.0f}", flush=True)  # fmt: skip
        last = taken.processor
        yield taken.memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("clips")
    verb.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    verb.add_argument("--batch-size", type=int, nargs="+", default=[1, 8])
    verb.add_argument("--seconds", type=float, default=20, help="for each row")
    verb.set_defaults(run=clips)
    verb = verbs.add_parser("mixed")
    verb.add_argument("--minutes", type=float, default=30)
    verb.add_argument("--every", type=float, default=10, metavar="S", help="between two samples")
    verb.add_argument("--growth", type=float, default=32, metavar="MB")
    verb.set_defaults(run=mixed)
    for verb in verbs.choices.values():
        verb.add_argument("--threads", type=int, default=1, help="of the engine")
    options = parser.parse_args()
    introduce(" ".join(["benchmarks/server_load.py", *sys.argv[1:]]))
    faults = options.run(options)
    conclude()
    raise SystemExit(faults > 0)


if __name__ == "__main__":
    main()

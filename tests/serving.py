"""Real servers on free ports, in a thread of the test."""

from __future__ import annotations

import threading
import time
import wave
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn

from ark_asr.server.app import create_app
from ark_asr.server.running import Server, _bind
from ark_asr.server.settings import Settings

PATIENCE = 120.0  # seconds, for a machine that has much else to do
# A connection of its own for each request, as other programs' clients come and go.
http = httpx.Client(timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0))


def eventually(condition):
    """Whether something that may take a moment comes true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


class Served:
    """A running server.

    Attributes:
        url: Where it is.
        app: What it serves.
    """

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._bound = _bind(settings)
        self.port = self._bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, ws="websockets-sansio",
            timeout_graceful_shutdown=60,
        )  # fmt: skip
        self.server = Server(config, self.app.state.hang_up)
        # One that does not end, in a test that failed, must not keep the whole run from its end.
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self._bound]}, daemon=True
        )

    @property
    def scheduler(self):
        return self.app.state.service.host.scheduler

    @contextmanager
    def standing(self):
        """The engine stands before its next batch, until what is yielded is set."""
        go_on, decode = threading.Event(), self.scheduler._decode

        def waiting(batch):
            go_on.wait()
            decode(batch)

        self.scheduler._decode = waiting
        try:
            yield go_on
        finally:
            self.scheduler._decode = decode
            go_on.set()

    @contextmanager
    def standing_calls(self):
        """The engine's thread stands before more live sound, until what is yielded is set."""
        go_on = threading.Event()
        self.scheduler.call(lambda: go_on.wait(PATIENCE))
        try:
            yield go_on
        finally:
            go_on.set()

    def at_rest(self):
        """Whether all requests are over, their lines in the log and figures included.

        A client has its answer a moment before.
        """
        return not self.server.server_state.tasks

    def answers(self, status):
        """Whether it is there, and its model as far as that."""
        try:
            return http.get(f"{self.url}/ready").status_code == status
        except httpx.TransportError:
            return False


@contextmanager
def serving(*, wait=True, **options):
    """Serve with these settings; its end is that of SIGTERM."""
    served = Served(Settings(**{"port": 0, "threads": 1, **options}))
    served.thread.start()
    try:
        assert eventually(lambda: served.answers(200 if wait else 503))
        yield served
    finally:
        served.server.should_exit = True
        served.thread.join(PATIENCE)
    assert not served.thread.is_alive(), "the server did not end"


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path

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
from ark_asr.server.running import _bind
from ark_asr.server.settings import Settings


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
            timeout_graceful_shutdown=20,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._bound]})

    @property
    def scheduler(self):
        return self.app.state.service.host.scheduler

    def wait_until_there(self, status):
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/ready").status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError("the server did not come up in a minute")


@contextmanager
def serving(*, wait=True, **options):
    """Serve with these settings; its end is that of SIGTERM."""
    served = Served(Settings(**{"port": 0, "threads": 1, **options}))
    served.thread.start()
    try:
        served.wait_until_there(200 if wait else 503)
        yield served
    finally:
        served.server.should_exit = True
        served.thread.join()


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path

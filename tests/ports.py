"""Ports for programs that are started with one, and bind it a while later."""

from __future__ import annotations

import random
import socket

# Below those that systems give to whoever asks for any, connections among them: one of those that
# is free now may be taken before the program comes to bind it.
_FROM, _TO = 20_000, 30_000


def free_port() -> int:
    """One that nobody has, and that nobody will be given by chance."""
    for port in random.SystemRandom().sample(range(_FROM, _TO), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")

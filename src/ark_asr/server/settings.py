"""What a server is told when it starts; the defaults suit one's own machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from ark_asr.errors import OptionError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server serves.

    Attributes:
        host: Address it listens at.
        port: Port; 0 takes a free one.
        models: Names or folders; the first is always loaded, the others when they are asked for.
            None: the model that comes with this package.
        any_model: Clients can ask for every model that is installed.
        model_memory: Bytes that loaded models may have, counted by the size of their files. The
            first has its place in any case.
        unload_after: Seconds after which a model that nobody asks for leaves the memory, unless it
            is the first; ``None``: when another needs the room.
        engine: As for `ark_asr.load`.
        threads: CPU threads of the engine; ``None`` for all physical cores.
        aliases: Other names of the first model, for example ``whisper-1``.
        speakers: Models that tell speakers apart: a folder, or ``auto`` for those of the store.
        keys: File of hashed keys (`ark_asr.server.keys`); ``None`` asks nobody for a key.
        open_to_all: Serve other machines although nobody is asked for a key.
        origins: Web pages of other origins that may use the server, as ``https://host``.
        max_upload: Bytes of one request.
        max_duration: Seconds of sound of one request.
        max_queue: Requests that are here at once, waiting ones included; a client may have half.
        max_live: Live sessions that are open at once.
        live_idle: Seconds without sound after which a live session is over.
        jobs: File in which long jobs are kept; ``None`` keeps them in memory.
        keep_results: Seconds after which a job that is over is forgotten.
        max_jobs: Long jobs that are kept at once, those that are over included; a client may have
            half.
        max_job_bytes: Bytes of the recordings that wait in them.
        batch_size: Clips that are decoded together.
        max_new_tokens: Tokens of a clip, where a request says nothing; ``None`` leaves that to the
            length of the clip (`/asr`: 256).
        timeout: Seconds that one request may take.
        stall: Seconds without a byte of an upload, or without progress in decoding it.
        decoder_memory: Bytes that the process which decodes an upload may ask for.
        grace: Seconds that running requests have left when the server is stopped.
        metrics: Whether there is ``/metrics``.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    any_model: bool = False
    model_memory: int = 4 << 30
    unload_after: float | None = 600.0
    engine: str | None = None
    threads: int | None = None
    aliases: tuple[str, ...] = ()
    speakers: str | None = None
    keys: Path | None = None
    open_to_all: bool = False
    origins: tuple[str, ...] = ()
    max_upload: int = 256 << 20
    max_duration: float = 4 * 3600.0
    max_queue: int = 16
    max_live: int = 4
    live_idle: float = 300.0
    jobs: Path | None = None
    keep_results: float = 24 * 3600.0
    max_jobs: int = 64
    max_job_bytes: int = 1 << 30
    batch_size: int = 8
    max_new_tokens: int | None = None
    timeout: float = 3600.0
    stall: float = 30.0
    decoder_memory: int = 2 << 30
    grace: float = 30.0
    metrics: bool = True

    def __post_init__(self) -> None:
        """Refuse what makes no sense, and what would be dangerous by accident.

        Raises:
            OptionError: Names the setting.
        """
        whole = {
            "max_upload", "max_queue", "max_live", "batch_size", "decoder_memory", "model_memory",
            "max_jobs", "max_job_bytes", "max_new_tokens",
        }  # fmt: skip
        seconds = {
            "max_duration", "timeout", "stall", "grace", "keep_results", "unload_after",
            "live_idle",
        }  # fmt: skip
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name in whole and value < 1:
                raise OptionError(f"{item.name} is {value}; it must be at least 1")
            if item.name in seconds and not 0 < value < math.inf:
                raise OptionError(f"{item.name} is {value}; it must be a positive number")
        if not 0 <= self.port < 1 << 16:
            raise OptionError(f"port is {self.port}; it must be between 0 and 65535")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise OptionError(f"origin {origin!r}: write it as a browser does, https://host")
        if not (self.is_local or self.keys or self.open_to_all):
            raise OptionError(
                f"host {self.host}: other machines could use the server; give --keys FILE (made by "
                "`ark-asr serve key`), or --open-to-all if everyone may"
            )

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        return self.host in _LOOPBACK

    @property
    def max_per_client(self) -> int:
        """Requests of one client that are here at once."""
        return max(self.max_queue // 2, 1)

    @property
    def max_jobs_per_client(self) -> int:
        """Long jobs of one client that are kept at once."""
        return max(self.max_jobs // 2, 1)

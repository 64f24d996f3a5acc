"""Figures for Prometheus; nothing in them says who spoke or what."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ark_asr.server.scheduler import Scheduler

_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The figures of one server.

    Attributes:
        requests: By route and status.
        seconds: How long requests took, by route.
        audio_seconds: Sound that was decoded for requests and live sessions.
        lag: Seconds that live captions were behind the sound.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "ark_asr_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "ark_asr_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.audio_seconds = Counter(
            "ark_asr_audio_seconds", "Sound that was decoded", registry=registry
        )
        self.lag = Histogram(
            "ark_asr_live_lag_seconds", "Live captions behind the sound", buckets=_BUCKETS,
            registry=registry,
        )  # fmt: skip
        for name, what, read in (
            ("ark_asr_queue_requests", "Requests that are here", lambda: scheduler.waiting),
            ("ark_asr_jobs_running", "Long jobs that are being done", lambda: scheduler.jobs),
            ("ark_asr_queue_clips", "Clips that wait for the engine", lambda: scheduler.clips),
            ("ark_asr_live_sessions", "Live sessions", lambda: scheduler.live),
            ("ark_asr_engine_seconds", "Time the engine worked", lambda: scheduler.busy),
            ("ark_asr_engine_audio_seconds", "Sound it was given", lambda: scheduler.understood),
        ):
            Gauge(name, what, registry=registry).set_function(read)

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

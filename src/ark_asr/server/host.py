"""The model of a server: loaded beside it, so that it answers from its first moment."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ark_asr.errors import ArkError
from ark_asr.models.catalogue import find
from ark_asr.models.store import DEFAULT_MODEL, resolve
from ark_asr.pipeline import Recognizer
from ark_asr.server import intake
from ark_asr.server.problems import Problem
from ark_asr.server.scheduler import Scheduler
from ark_asr.server.settings import Settings

State: TypeAlias = Literal["loading", "ready", "failed", "stopped"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be asked.

    Attributes:
        recognizer: The model.
        languages: ISO 639 codes that it was trained for; empty if that is not known.
    """

    recognizer: Recognizer
    languages: tuple[str, ...]


class Host:
    """Loads the model in the background and knows how far that is.

    Attributes:
        name: Of the model, known before it is loaded.
        created: When the server was started, seconds since 1970.
        error: Why the model cannot be used.
        scheduler: The queue before its engine.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = resolve(settings.model).name
        self.aliases = settings.aliases
        self.created = int(time.time())
        self.error: str | None = None
        self.scheduler = Scheduler(settings.batch_size, settings.max_queue, settings.max_per_client)
        self._settings = settings
        self._loaded: Loaded | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._load, name="loading")

    @property
    def state(self) -> State:
        """How far it is."""
        if self._stopped:
            return "stopped"
        if self.error is not None:
            return "failed"
        return "ready" if self._loaded else "loading"

    @property
    def loaded(self) -> Loaded:
        """The model.

        Raises:
            Problem: 503: it is not there yet, or never will be.
        """
        if self._loaded is None or self._stopped:
            if self.error is not None:
                raise Problem(503, f"the model cannot be used: {self.error}", None, "model_failed")
            what = "the server is being stopped" if self._stopped else "the model is being loaded"
            raise Problem(503, what, None, "not_ready", {"Retry-After": "2"})
        return self._loaded

    def answers_to(self, name: str) -> bool:
        """Whether a client that asks for this model gets ours."""
        return name == self.name or name in self.aliases

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def close(self) -> None:
        """End the engine's thread and give back the model."""
        self._stopped = True
        self._thread.join()
        self.scheduler.close()
        if self._loaded is not None:
            self._loaded.recognizer.close()

    def _load(self) -> None:
        settings = self._settings
        try:
            intake.warm_up()
            recognizer = Recognizer.load(
                settings.model, engine=settings.engine, threads=settings.threads
            )
        except ArkError as error:
            self.error = str(error)
            _log.error("model_failed: %s", error)
        except Exception as error:  # noqa: BLE001 - it is told to whoever asks
            self.error = f"{type(error).__name__}; the log says more"
            _log.exception("model_failed")
        else:
            self.scheduler.start(recognizer)
            self._loaded = Loaded(recognizer, _languages(recognizer.name))
            _log.info("model_ready")


def _languages(name: str) -> tuple[str, ...]:
    if name == DEFAULT_MODEL:  # it came with the package and is in no catalogue
        return ("en",)
    entry = find(name)
    return entry.languages if entry else ()

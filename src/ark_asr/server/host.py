"""The models of a server: the first loaded beside it and kept, others when they are asked for.

Everything here happens in the event loop's thread, except loading itself and closing, which is for
the engine's threads: so there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias

from ark_asr.errors import ArkError, ModelFormatError, OptionError
from ark_asr.models.catalogue import find
from ark_asr.models.store import DEFAULT_MODEL, ModelFolder, list_models, resolve
from ark_asr.pipeline import Recognizer, batches_itself, check_engine
from ark_asr.pipeline.scribe import Scribe
from ark_asr.server import forks
from ark_asr.server.problems import Problem
from ark_asr.server.scheduler import Scheduler
from ark_asr.server.settings import Settings
from ark_asr.types import TranscribeOptions

State: TypeAlias = Literal["unloaded", "loading", "ready", "failed", "stopped"]
# What the models' first service was asked for, by the lines of its guide and by its page.
_FIRST_SERVICE = "ark-asr"
_SCRIBES = 16
_LEAST_LOOK, _MOST_LOOK = 0.05, 30.0
_log = logging.getLogger(__name__)


class Loaded:
    """A model that can be asked; a context manager around each use, in which it stays loaded.

    Attributes:
        recognizer: The model.
        languages: ISO 639 codes that it was trained for; empty if that is not known.
        users: Requests that use it now.
        used: When the last of them was done, on the clock of `time.monotonic`.
    """

    def __init__(self, recognizer: Recognizer, languages: tuple[str, ...]) -> None:
        self.recognizer = recognizer
        self.languages = languages
        self.users = 0
        self.used = time.monotonic()
        self._of_thread = threading.local()

    def __enter__(self) -> Self:
        self.users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        self.used = time.monotonic()

    def scribe(self, options: TranscribeOptions) -> Scribe:
        """`Recognizer.scribe`, kept for the next piece that this thread has to decode."""
        scribes: dict[TranscribeOptions, Scribe]
        scribes = self._of_thread.__dict__.setdefault("scribes", {})
        if options not in scribes:
            if len(scribes) == _SCRIBES:
                scribes.clear()
            scribes[options] = self.recognizer.scribe(options)
        return scribes[options]

    def times_words(self) -> bool:
        """Whether its files show when words were spoken."""
        try:
            self.recognizer.scribe(TranscribeOptions(words=True))
        except (OptionError, ModelFormatError):
            return False
        return True


@dataclass(slots=True, eq=False)
class Model:
    """One model that clients can ask for.

    Attributes:
        folder: Its files; their size is what it counts against the memory that models may have.
        languages: ISO 639 codes that it was trained for; empty if that is not known.
        loaded: It, while it is.
        loading: What loads it, while that goes on.
        waiting: Requests that wait for that.
        error: Why it could not be loaded.
    """

    folder: ModelFolder
    languages: tuple[str, ...]
    loaded: Loaded | None = None
    loading: asyncio.Task[Problem | None] | None = None
    waiting: int = 0
    error: str | None = None

    @property
    def state(self) -> State:
        """How far it is."""
        if self.loaded:
            return "ready"
        if self.loading:
            return "loading"
        return "failed" if self.error else "unloaded"


class Host:
    """Loads models, gives them out, and takes them out of memory again.

    Attributes:
        name: Of the first model, which clients get who name none.
        first: That model.
        created: When the server was started, seconds since 1970.
        scheduler: The queue before the engine.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: The engine cannot run one of them.
        OptionError: Two have the same name, one does not fit beside the first, or there is no such
            engine or number of threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = [_model(resolve(one)) for one in settings.models or (None,)]
        self._installed: dict[Path, Model] = {}
        self.first = self._given[0]
        self.name = self.first.folder.name
        self.aliases = settings.aliases
        self.created = int(time.time())
        clips = settings.batch_size
        batch_size, lanes = (1, clips) if batches_itself(settings.engine) else (clips, 1)
        self.scheduler = Scheduler(batch_size, settings.max_queue, settings.max_per_client, lanes)
        self._settings = settings
        self._one_at_a_time = asyncio.Lock()
        self._stopped = False
        self._looking: asyncio.Task[None] | None = None
        names = [model.folder.name for model in self._given]
        for model, name in zip(self._given, names, strict=True):
            if names.count(name) > 1:
                raise OptionError(f"two models are called {name}; rename the folder of one")
            if not self._fits(model):
                raise OptionError(f"{self._too_large(model)}; see --model-memory")
            check_engine(model.folder, settings.engine, settings.threads)

    @property
    def state(self) -> State:
        """How far the first model is."""
        return "stopped" if self._stopped else self.first.state

    @property
    def error(self) -> str | None:
        """Why the first model cannot be used."""
        return self.first.error

    def models(self) -> dict[str, Model]:
        """All that can be asked for, by name, aliases behind them."""
        named = {model.folder.name: model for model in self._given}
        for folder in list_models() if self._settings.any_model else ():
            if folder.name not in named:
                named[folder.name] = self._installed.setdefault(folder.path, _model(folder))
        return {**named, **dict.fromkeys(self.aliases, self.first)}

    def find(self, name: str | None) -> Model:
        """A model by name; nothing means the first, and so does `_FIRST_SERVICE`.

        Raises:
            Problem: 404: there is none.
        """
        if not name:
            return self.first
        models = self.models()
        if name not in models:
            if name == _FIRST_SERVICE:
                return self.first
            message = f"there is no model {name!r} here; take one of: {', '.join(models)}"
            raise Problem(404, message, "model", "model_not_found")
        return models[name]

    async def use(self, name: str | None = None) -> Loaded:
        """A model, loaded if it is not; to be entered at once, and left when it is not needed.

        Raises:
            Problem: 404: there is none; 503: it cannot be loaded, or not now.
        """
        model = self.find(name)
        # Two that have no room beside each other would unload each other for ever.
        model.waiting += 1
        try:
            return await self._loaded(model)
        finally:
            model.waiting -= 1

    async def _loaded(self, model: Model) -> Loaded:
        while not self._stopped:
            if model.loaded is not None:
                return model.loaded
            if model.loading is None:
                if model is self.first:
                    raise self._failed(model)
                model.loading = asyncio.create_task(self._load(model))
            # Whoever leaves meanwhile must not take it from those who stay.
            problem = await asyncio.shield(model.loading)
            if problem is not None:
                raise problem
        raise Problem(503, "the server is being stopped", None, "shutting_down")

    def start(self) -> None:
        """Begin to load the first model."""
        self.scheduler.start()
        self.first.loading = asyncio.create_task(self._load(self.first))
        if self._settings.unload_after is not None:
            self._looking = asyncio.create_task(self._unload_idle(self._settings.unload_after))

    async def close(self) -> None:
        """End the engine's thread and give back the models."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
        loading = [model.loading for model in self._all if model.loading]
        await asyncio.gather(*loading)
        await asyncio.to_thread(self.scheduler.close)
        for model in self._all:
            if model.loaded is not None:
                model.loaded.recognizer.close()

    async def _load(self, model: Model) -> Problem | None:
        """Load a model, or say why that cannot be."""
        settings, model.error = self._settings, None
        try:
            async with self._one_at_a_time:
                await self._make_room(model)
                if model is self.first:
                    await asyncio.to_thread(forks.warm_up)
                recognizer = await asyncio.to_thread(
                    Recognizer.load,
                    model.folder.path,
                    engine=settings.engine,
                    threads=settings.threads,
                )
        except Problem as problem:
            return problem
        except ArkError as error:
            model.error = str(error)
            _log.error("model_failed: %s", error)
            return self._failed(model)
        except Exception as error:  # noqa: BLE001 - it is told to whoever asks
            model.error = f"{type(error).__name__}; the log says more"
            _log.exception("model_failed")
            return self._failed(model)
        finally:
            model.loading = None
        model.loaded = Loaded(recognizer, model.languages)
        _log.info("model_ready", extra={"model": model.folder.name})
        return None

    def _failed(self, model: Model) -> Problem:
        return Problem(503, f"the model cannot be used: {model.error}", None, "model_failed")

    async def _make_room(self, model: Model) -> None:
        """Unload what is idle, the longest unused first, until a model fits.

        Raises:
            Problem: 503: it cannot.
        """
        if not self._fits(model):
            raise Problem(503, self._too_large(model), "model", "model_too_large")
        while model is not self.first and self._size_with(model) > self._settings.model_memory:
            idle = self._idle()
            if not idle:
                message = "the models that are in use leave no room for this one; try again later"
                raise Problem(503, message, "model", "no_memory", {"Retry-After": "10"})
            await self._unload(min(idle, key=_last_use))

    async def _unload_idle(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(max(seconds / 4, _LEAST_LOOK), _MOST_LOOK))
            for model in self._idle():
                if _last_use(model) + seconds < time.monotonic():
                    await self._unload(model)

    async def _unload(self, model: Model) -> None:
        loaded, model.loaded = model.loaded, None
        if loaded is not None:  # a batch that nobody waits for may still be at it
            await asyncio.wrap_future(self.scheduler.call(loaded.recognizer.close))
            _log.info("model_unloaded", extra={"model": model.folder.name})

    @property
    def _all(self) -> list[Model]:
        return [*self._given, *self._installed.values()]

    def _idle(self) -> list[Model]:
        """Loaded models that nobody uses or is about to, but never the first."""
        others = (model for model in self._all if model is not self.first and not model.waiting)
        return [model for model in others if model.loaded and not model.loaded.users]

    def _size_with(self, more: Model) -> int:
        return sum(model.folder.size for model in self._all if model.loaded or model is more)

    def _fits(self, model: Model) -> bool:
        """Whether there can ever be room for it."""
        beside = self.first.folder.size + model.folder.size
        return model is self.first or beside <= self._settings.model_memory

    def _too_large(self, model: Model) -> str:
        return (
            f"the model {model.folder.name} needs {_megabytes(model)} MB beside the first one's "
            f"{_megabytes(self.first)}, and models may have {self._settings.model_memory >> 20}"
        )


def _model(folder: ModelFolder) -> Model:
    if folder.name == DEFAULT_MODEL:  # it came with the package and is in no catalogue
        return Model(folder, ("en",))
    entry = find(folder.name)
    return Model(folder, entry.languages if entry else ())


def _last_use(model: Model) -> float:
    return model.loaded.used if model.loaded else 0.0


def _megabytes(model: Model) -> int:
    return -(-model.folder.size >> 20)

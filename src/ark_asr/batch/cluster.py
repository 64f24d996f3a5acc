"""The same batch on many machines: Ray Data gives shards to workers, each with a model of its own.

What is done for a shard is what `run_batch` does for a whole input, and each worker runs its model
in a process beside itself (`Workers`), so a record that kills its process becomes an error here as
there. If a worker or its machine is lost, Ray gives its shard to another one; nothing of a shard is
written before all of it is done, so no row is lost or doubled.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ark_asr.batch.job import Plan, Tally, chunk_size, write_rows
from ark_asr.batch.workers import Workers
from ark_asr.errors import ArkError, MissingExtraError, OptionError
from ark_asr.models.store import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ark_asr.batch.shards import Shard, ShardFolder

NAME = "ray"


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker says of a shard.

    Attributes:
        number: Of the shard among those that were missing.
        error: Why it is not written: the model or the output cannot be used.
    """

    number: int
    failed: int = 0
    seconds: float = 0.0
    complaints: tuple[str, ...] = ()
    stopped: str | None = None
    error: str | None = None


class ShardWorker:
    """Lives in a process of the cluster; writes shards.

    Args:
        plan: How; its ``workers`` is the number of these.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = replace(plan, workers=1)
        self._heard = 0.0
        self._workers = Workers(plan.settings, 1, memory=plan.memory, heard=self._hear)
        self._workers.__enter__()  # left when this process ends

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write one shard; rows of Ray Data are dictionaries."""
        shard: Shard = pickle.loads(row["shard"])  # noqa: S301 - the driver's own
        try:
            done = self._write(row["number"], shard)
        except ArkError as error:  # trying again would not help
            done = _Done(row["number"], error=str(error))
        return {"done": pickle.dumps(done)}

    def _write(self, number: int, shard: Shard) -> _Done:
        self._heard = 0.0
        groups = self._workers.predict(shard.records, chunk_size(self._plan, len(shard.records)))
        predictions = [prediction for group in groups for prediction in group]
        written = write_rows(shard.records, predictions, self._plan)
        if written.stopped is None:
            shard.write(written.lines)
        return _Done(number, written.failed, self._heard, written.complaints, written.stopped)

    def _hear(self, seconds: float) -> None:
        self._heard += seconds


def run_on_cluster(
    shards: ShardFolder,
    plan: Plan,
    *,
    workers: int | None = None,
    report: Callable[[Tally], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Write the shards that are missing, on the cluster of ``RAY_ADDRESS`` or on this machine.

    Args:
        shards: The output; every machine must be able to write it, and to read the recordings.
        plan: How; ``threads`` of its settings are the cores of each worker, 1 if not said.
        workers: Most workers at once; ``None`` for as many as there are cores for.
        report: Called after each shard.
        warn: Called with one line for each recording that is damaged or cannot be used.

    Raises:
        MissingExtraError: Ray is not installed.
        ModelError: The model cannot be used.
        OptionError: The output cannot be written, or is not seen from here.
    """
    total = shards.done + sum(len(shard.records) for shard in shards.missing)
    tally = Tally(shards.done, shards.failed, total)
    if not shards.missing:
        return tally
    resolve(plan.settings.model)  # before a cluster is started
    began = time.perf_counter()
    missing = tuple(shards.missing)
    plan = replace(plan, settings=replace(plan.settings, threads=plan.settings.threads or 1))
    with _ray() as ray:
        for answer in _answers(ray, missing, plan, workers, warn):
            done: _Done = pickle.loads(answer)  # noqa: S301 - of our own workers
            for line in done.complaints:
                warn(line)
            if done.error is not None:
                raise OptionError(f"a worker cannot go on: {done.error}")
            shard = missing[done.number]
            if done.stopped is None:
                shards.take(shard)
            tally = replace(
                tally,
                rows=shards.done,
                failed=tally.failed + done.failed,
                fresh=tally.fresh + (0 if done.stopped else len(shard.records)),
                audio=tally.audio + done.seconds,
                elapsed=time.perf_counter() - began,
                stopped=done.stopped,
            )
            report(tally)
            if done.stopped is not None:
                break
    return tally


@contextmanager
def _ray() -> Iterator[Any]:
    """Ray, connected; disconnected afterwards unless it was connected before."""
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ModuleNotFoundError:
        raise MissingExtraError("--engine ray", "batch") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise OptionError(f"the cluster cannot be reached ({why})") from None
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _answers(
    ray: Any,  # noqa: ANN401 - its types come and go with its releases
    shards: tuple[Shard, ...],
    plan: Plan,
    workers: int | None,
    warn: Callable[[str], None],
) -> Iterator[bytes]:
    """What the workers say, as they say it."""
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    cores = plan.settings.threads or 1
    room = max(int(ray.cluster_resources().get("CPU", 1)) // cores, 1)
    wanted = min(workers or room, len(shards))
    if wanted > room:
        warn(f"the cluster has room for {room} of {wanted} workers with {cores} cores each now")
    rows = [{"number": number, "shard": pickle.dumps(shard)} for number, shard in enumerate(shards)]
    # A block for each shard: what Ray gives out, and gives out again, is one shard.
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        ShardWorker,
        fn_constructor_args=(plan,),
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=wanted, initial_size=min(wanted, room),
            max_tasks_in_flight_per_actor=2,
        ),
        num_cpus=cores,
    )  # fmt: skip
    for row in found.iter_rows():
        yield row["done"]

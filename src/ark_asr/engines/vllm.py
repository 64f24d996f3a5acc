"""vLLM in this process (extra ``[vllm]``): many clips at once, on a GPU or a CPU.

vLLM decides for itself which clips take their next step together, so it cannot be stepped from
outside as `Engine` is; it is a `Writer`. Several threads may wait for their clips: one of them
takes vLLM a step further, for all of them, and what came in meanwhile is part of the next step.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ark_asr.engines.base import Ask
from ark_asr.engines.vllm_release import release_problem
from ark_asr.engines.writer import CheckpointWriter
from ark_asr.errors import ModelError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Hypothesis

# Seconds that vLLM's own processes have to end.
_GRACE = 10.0
# The variables of the service that the models were published with, two more of their kind, and what
# vLLM calls them.
_VARIABLES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "VLLM_DTYPE": ("dtype", str),
    "VLLM_MAX_MODEL_LEN": ("max_model_len", int),
    "VLLM_MAX_NUM_SEQS": ("max_num_seqs", int),
    "VLLM_MAX_NUM_BATCHED_TOKENS": ("max_num_batched_tokens", int),
    "VLLM_GPU_MEMORY_UTILIZATION": ("gpu_memory_utilization", float),
    "VLLM_TENSOR_PARALLEL_SIZE": ("tensor_parallel_size", int),
    "VLLM_PIPELINE_PARALLEL_SIZE": ("pipeline_parallel_size", int),
    "VLLM_QUANTIZATION": ("quantization", str),
    "VLLM_ENFORCE_EAGER": ("enforce_eager", "1".__eq__),
    "VLLM_DISABLE_LOG_STATS": ("disable_log_stats", "1".__eq__),
}


def settings_from_variables() -> dict[str, object]:
    """What the environment says of vLLM's settings.

    Raises:
        OptionError: A variable holds no number.
    """
    found = {}
    for variable, (setting, kind) in _VARIABLES.items():
        if text := os.environ.get(variable):
            try:
                found[setting] = kind(text)
            except ValueError:
                raise OptionError(f"{variable} is {text!r}; it must be a number") from None
    return found


@dataclass(slots=True, eq=False)
class _Clip:
    """A clip from its arrival until nobody works on it any more."""

    number: str
    ask: Ask
    gone: Callable[[], bool]
    answer: Any = None
    error: Exception | None = None
    done: bool = False


class VllmEngine(CheckpointWriter):
    """A checkpoint that vLLM has loaded in processes of its own.

    Args:
        engine: ``vllm.LLMEngine``.
        tokenizer: Of the same checkpoint.
    """

    def __init__(self, engine: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401 - optional part
        super().__init__(tokenizer, engine.model_config.max_model_len)
        self._engine = engine
        self._numbers = count()
        self._arrived: deque[_Clip] = deque()
        self._running: dict[str, _Clip] = {}
        self._stepped = threading.Condition()
        self._stepping = False
        self._closed = False

    @classmethod
    def load(cls, folder: str | Path) -> VllmEngine:
        """Start vLLM on a checkpoint folder; in float32 on a CPU, else as it is stored.

        The variables of `docs/vllm.md` (``VLLM_MAX_NUM_SEQS``...) are heeded.

        Raises:
            MissingExtraError: vLLM is not installed, or another release than this package knows.
            ModelFormatError: A file of the folder is not what it must be.
            ModelError: vLLM could not start.
            OptionError: A variable holds no number.
        """
        if (problem := release_problem()) is not None:
            raise problem
        from vllm import EngineArgs, LLMEngine
        from vllm.platforms import current_platform

        tokenizer = Tokenizer.load(folder)
        cpu = current_platform.is_cpu()
        wanted = settings_from_variables()
        settings: dict[str, Any] = {
            "dtype": "float32" if cpu else "auto",
            # vLLM's CPU build fails in the second stage of a pipeline that it has not compiled.
            "enforce_eager": cpu and wanted.get("pipeline_parallel_size", 1) == 1,
            "disable_log_stats": True,
            **wanted,
        }
        try:
            args = EngineArgs(model=str(folder), **settings)
            return cls(LLMEngine.from_engine_args(args), tokenizer)
        except Exception as error:
            raise ModelError(f"vLLM could not start: {error}") from error

    def write(
        self, asks: Sequence[Ask], cancelled: Sequence[Callable[[], bool]]
    ) -> list[Hypothesis]:
        """See ``Writer``."""
        clips = [
            _Clip(f"clip-{next(self._numbers)}", *parts)
            for parts in zip(asks, cancelled, strict=True)
        ]
        self._arrived.extend(clips)
        while self._takes_a_step(clips):
            try:
                self._step()
            finally:
                with self._stepped:
                    self._stepping = False
                    self._stepped.notify_all()
        for clip in clips:
            if clip.error is not None:
                raise clip.error
        return [self._read(clip) for clip in clips]

    def close(self) -> None:
        """End vLLM's processes."""
        with self._stepped:
            self._stepped.wait_for(lambda: not self._stepping)
            self._closed = True
            self._stepped.notify_all()
        self._engine.engine_core.shutdown(_GRACE)

    def _takes_a_step(self, clips: Sequence[_Clip]) -> bool:
        """Wait until it is this thread's turn to step (true), or its clips are done."""

        def done() -> bool:
            return self._closed or all(clip.done for clip in clips)

        with self._stepped:
            self._stepped.wait_for(lambda: done() or not self._stepping)
            if done():
                return False
            self._stepping = True
            return True

    def _step(self) -> None:
        """One token more for every clip that is here."""
        while self._arrived:
            self._begin(self._arrived.popleft())
        for clip in [clip for clip in self._running.values() if clip.gone()]:
            self._end(clip)
            self._engine.abort_request([clip.number])
        if not self._engine.has_unfinished_requests():  # whoever is left would wait for ever
            for clip in list(self._running.values()):
                self._end(clip)
            return
        for answer in self._engine.step():
            if (known := self._running.get(answer.request_id)) is not None:
                known.answer = answer
                if answer.finished:
                    self._end(known)

    def _begin(self, clip: _Clip) -> None:
        from vllm import SamplingParams

        ask = clip.ask
        try:
            prompt = [*self.tokenizer.prompt(1, ask.instruction), *ask.said]
            params = SamplingParams(
                temperature=0.0,
                max_tokens=self.limit(ask),
                logprobs=0,
                stop_token_ids=sorted(self.tokenizer.stop_ids),
                detokenize=False,
            )
            sound = (ask.audio.samples, ask.audio.sample_rate)
            request = {"prompt_token_ids": prompt, "multi_modal_data": {"audio": sound}}
            self._engine.add_request(clip.number, request, params)
        except Exception as error:  # noqa: BLE001 - it belongs to who waits for this clip
            clip.error, clip.done = error, True
        else:
            self._running[clip.number] = clip

    def _end(self, clip: _Clip) -> None:
        del self._running[clip.number]
        clip.done = True

    def _read(self, clip: _Clip) -> Hypothesis:
        if clip.answer is None:
            return Hypothesis((), (), "cancelled")
        output = clip.answer.outputs[0]
        ids = list(output.token_ids)
        logprobs = [step[id_].logprob for step, id_ in zip(output.logprobs, ids, strict=True)]
        finished = output.finish_reason in ("stop", "length")
        return self.hypothesis(ids, logprobs, "length" if finished else "cancelled")

"""PyTorch on another device than the CPU: the whole search stays there (extra ``[torch]``).

`TorchEngine` hands the logits of every step to the host, where rules and beams are; with 163,000
columns and many rows that would keep a GPU waiting. Here only a token and its log-probability come
back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ark_asr.audio import LogMel
from ark_asr.engines.base import CLOSED, Ask
from ark_asr.engines.writer import CheckpointWriter
from ark_asr.errors import MissingExtraError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Hypothesis, StopReason

try:
    import torch
    from torch.nn import functional
except ImportError:  # pragma: no cover - the test environment has it
    raise MissingExtraError("The PyTorch engine", "torch") from None

from ark_asr.engines.torch import padded_ids, padded_mels, set_threads
from ark_asr.engines.torch_steps import CompiledSteps, Steps
from ark_asr.modeling.model import ArkForConditionalGeneration


class TorchWriter(CheckpointWriter):
    """A checkpoint on a device.

    Args:
        model: It, on the device.
        tokenizer: Of the same checkpoint.
        compiled: Compile the decoding step for each shape of batch; see `CompiledSteps`.

    Raises:
        OptionError: Nothing can be compiled here.
    """

    def __init__(
        self, model: ArkForConditionalGeneration, tokenizer: Tokenizer, *, compiled: bool = False
    ) -> None:
        super().__init__(tokenizer, model.config.decoder.max_positions)
        self.model = model
        self._steps = (CompiledSteps if compiled else Steps)(model, self.output_ids.tolist())
        self._log_mel = LogMel(tokenizer.features)
        self._like = model.lm_head.weight
        self._stop_ids = self._on_device(sorted(tokenizer.stop_ids))
        self._one_at_a_time = threading.Lock()

    @classmethod
    def load(
        cls, folder: str | Path, device: str, *, threads: int | None = None, compiled: bool = False
    ) -> TorchWriter:
        """Open a checkpoint folder: in float32 on a CPU, else in bfloat16.

        Args:
            folder: Folder with ``config.json``, tokenizer and safetensors weights.
            device: As PyTorch spells it, for example ``cuda`` or ``cuda:1``.
            threads: Threads of PyTorch, for the whole process; ``None`` leaves its choice.
            compiled: As for the class.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A file is not what it must be.
            OptionError: There is no such device here, or nothing can be compiled for it, or
                ``threads`` makes no sense.
        """
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0]
            raise OptionError(f"device {device!r}: PyTorch has none here ({said})") from None
        set_threads(threads)
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = ArkForConditionalGeneration.load(folder, dtype, device)
        return cls(model, Tokenizer.load(folder, model.config), compiled=compiled)

    def write(
        self, asks: Sequence[Ask], cancelled: Sequence[Callable[[], bool]]
    ) -> list[Hypothesis]:
        """See ``Writer``; a second thread waits until the first one's clips are done."""
        if not asks:
            return []
        with self._one_at_a_time, torch.inference_mode():
            audio, prompts = self._embed(asks)
            return self._search(audio, prompts, [self.limit(ask) for ask in asks], cancelled)

    def close(self) -> None:
        """Give back memory, when nobody writes any more."""
        with self._one_at_a_time:
            self.model = self._steps = self._like = self._stop_ids = CLOSED

    def _embed(self, asks: Sequence[Ask]) -> tuple[torch.Tensor, list[list[int]]]:
        """Audio embeddings ``[rows, slots, hidden]`` and the ids of the prompts."""
        batch, frames = padded_mels([self._log_mel(ask.audio.samples) for ask in asks])
        sound = torch.from_numpy(batch).to(self._like.device, self._like.dtype)
        audio = self.model.embed_audio(sound, self._on_device(frames))
        slots = map(self.tokenizer.config.audio_slots, frames)
        prompts = [
            [*self.tokenizer.prompt(count, ask.instruction), *ask.said]
            for count, ask in zip(slots, asks, strict=True)
        ]
        return audio, prompts

    def _search(
        self,
        audio: torch.Tensor,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        cancelled: Sequence[Callable[[], bool]],
    ) -> list[Hypothesis]:
        rows, lengths = len(prompts), [len(prompt) for prompt in prompts]
        ids = padded_ids(prompts, self.tokenizer.config.pad_token_id)
        cache = self._steps.cache(rows, max(lengths) + max(limits))
        places = torch.arange(ids.shape[1], device=self._like.device).expand(rows, -1)
        embeds = self.model.embed_prompt(self._on_device(ids), audio)
        hidden = self.model.decode(embeds, places, cache.part(rows, ids.shape[1]))
        ends = self._on_device(lengths)
        token, logprob = self._steps.choose(hidden[self._on_device(range(rows)), ends - 1])
        spare = (0, len(cache.keys[0]) - rows)  # rows of the cache that nobody needs
        token, positions = functional.pad(token, spare), functional.pad(ends, spare)
        logprob, most = functional.pad(logprob, spare), self._on_device(limits)
        over = torch.zeros_like(most, dtype=torch.bool)
        gone: dict[int, int] = {}  # tokens that a row had when nobody waited for it any more
        tokens, logprobs = [], []
        for count in range(max(limits)):
            left = [row for row, ask in enumerate(cancelled) if row not in gone and ask()]
            if left:
                gone |= dict.fromkeys(left, count)
                over[left] = True
            if bool(over.all()):
                break
            if count:
                token, logprob = self._steps(token, positions, cache)
                positions += 1
            tokens.append(token[:rows])
            logprobs.append(logprob[:rows])
            over |= torch.isin(token[:rows], self._stop_ids) | (count + 1 >= most)
        if not tokens:
            return [Hypothesis((), (), "cancelled") for _ in prompts]
        chosen: list[list[int]] = torch.stack(tokens, 1).tolist()
        values: list[list[float]] = torch.stack(logprobs, 1).tolist()
        return [
            self._read(chosen[row], values[row], limit, gone.get(row, limit))
            for row, limit in enumerate(limits)
        ]

    def _read(
        self, tokens: Sequence[int], logprobs: Sequence[float], limit: int, taken: int
    ) -> Hypothesis:
        """What a row wrote before it was over; the others may have gone on."""
        taken = min(limit, taken)
        stops = (at for at, token in enumerate(tokens[:taken]) if token in self.tokenizer.stop_ids)
        kept = next(stops, taken - 1) + 1
        stop: StopReason = "cancelled" if taken < limit else "length"
        return self.hypothesis(tokens[:kept], logprobs[:kept], stop)

    def _on_device(self, values: Sequence[int] | np.ndarray) -> torch.Tensor:
        return torch.tensor(np.asarray(values, np.int64), device=self._like.device)

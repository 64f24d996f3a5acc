"""The ways of `real_size.py`: ours, the publisher's package as its own script drives it, PyTorch.

Each is opened with a folder and a number of threads, and called with clips: float32 samples at
16 kHz, the number of tokens to write for each, and whom to tell when the first one is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

WAYS = ("int8", "int4", "official", "fp32", "bf16")
OURS = ("int8", "int4")
RATE = 16_000


class Ours:
    """One of our packages."""

    def __init__(self, folder: Path, threads: int) -> None:
        from ark_asr.audio import LogMel
        from ark_asr.engines import load_model

        self.engine, self.tokenizer = load_model(folder, threads=threads)
        self.log_mel = LogMel(self.tokenizer.features)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        from ark_asr.types import Prompt

        audio = self.engine.embed_audio([self.log_mel(clip) for clip in clips])
        prompts = [Prompt(self.tokenizer.prompt(len(a)), a) for a in audio]
        state = self.engine.start(prompts, tokens)
        first()
        for _ in range(tokens - 1):
            state = self.engine.step(state, self.engine.output_ids[state.logits.argmax(axis=1)])


class Official:
    """The publisher's graphs in the publisher's way."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        from ark_asr.audio import LogMel
        from ark_asr.models.config import ModelConfig
        from ark_asr.models.tokenizer import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = {
            part: onnxruntime.InferenceSession(str(next(folder.glob(f"{part}*.onnx"))), options)
            for part in ("audio_encoder_whisper", "audio_encoder_adapter", "llm_kv", "embedding")
        }
        self.config = ModelConfig.load(folder)
        self.tokenizer = Tokenizer.load(folder, self.config)
        self.log_mel = LogMel(self.config.features)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        encoder, adapter, decoder, table = self.sessions.values()
        shape = next(i.shape for i in decoder.get_inputs() if i.name == "cache_key_0")
        names = [f"cache_{kind}_{i}" for i in range(self.config.decoder.layers)
                 for kind in ("key", "value")]  # fmt: skip
        for clip in clips:
            (states,) = encoder.run(None, {"audios": self.log_mel(clip)[None]})
            count = states.shape[1] // self.config.merge_factor
            merged = states[:, : count * self.config.merge_factor].reshape(1, count, -1)
            (audio,) = adapter.run(None, {"merged_audio_features": merged})
            ids = np.array(self.tokenizer.prompt(count))
            slots = ids == self.config.audio_token_id
            (embeds,) = table.run(None, {"input_ids": np.where(slots, 0, ids)[None]})
            embeds[0, slots] = audio[0]
            caches = {name: np.zeros(shape, np.float32) for name in names}
            filled = 0
            for written in range(tokens):
                new = embeds.shape[1]
                mask = np.zeros((1, shape[1]), np.int64)
                mask[:, : filled + new] = 1
                place = np.arange(filled, filled + new)
                logits, *deltas = decoder.run(
                    None, {"inputs_embeds": embeds, "attention_mask": mask,
                           "cache_position": place, **caches},
                )  # fmt: skip
                for name, delta in zip(names, deltas, strict=True):
                    caches[name][:, place] = delta
                filled += new
                if not written:
                    first()
                best = logits[0, -1].argmax()
                (embeds,) = table.run(None, {"input_ids": np.array([[best]])})


class Transformers:
    """The checkpoint with `generate`, in one precision."""

    def __init__(self, folder: Path, threads: int, precision: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoProcessor

        import ark_asr.modeling.transformers  # noqa: F401 - registers the model

        torch.set_num_threads(threads)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=self.dtype).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        import torch

        for clip in clips:
            turn = [{"role": "user", "content": [{"type": "audio", "audio": clip},
                     {"type": "text", "text": "Please transcribe this audio."}]}]  # fmt: skip
            inputs = self.processor.apply_chat_template(
                turn, tokenize=True, add_generation_prompt=True, return_dict=True,
                return_tensors="pt", sampling_rate=RATE, audio_padding="longest",
                audio_max_length=30 * RATE,
            )  # fmt: skip
            with torch.inference_mode():
                self.model.generate(
                    **inputs, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False,
                    streamer=_First(first),
                )  # fmt: skip


class _First:
    """Told of the prompt, then of each token."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first, self._told = first, 0

    def put(self, _: object) -> None:
        self._told += 1
        if self._told == 2:
            self._first()

    def end(self) -> None:
        pass


def open_way(way: str, folder: Path, threads: int) -> Ours | Official | Transformers:
    if way in OURS:
        return Ours(folder / way, threads)
    if way == "official":
        return Official(folder / way, threads)
    return Transformers(folder / "checkpoint", threads, way)

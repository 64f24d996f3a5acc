"""Flags of the published batch script that mean nothing here, or only one thing.

None is accepted and ignored: each either asks for what happens anyway, or is refused with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ark_asr.errors import OptionError
from ark_asr.models.home import expand
from ark_asr.models.store import ModelFolder, resolve
from ark_asr.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ScriptFlags:
    """The values that were given; ``None`` where the flag was not."""

    processor_path: str | None = None
    do_sample: bool = False
    temperature: float | None = None
    repetition_penalty: float | None = None
    target_sr: int | None = None
    asr_block_token_id_from: int | None = None
    padding_side: str | None = None
    attn_impl: str | None = None
    dtype: str | None = None

    def check(self, model: str | None) -> None:
        """Compare them with what this program does, and with the model (without loading it).

        Raises:
            OptionError: Names each flag that cannot be honoured, and why.
            ModelNotFoundError: A flag is about the model, and there is none.
        """
        refused = list(self._refused())
        about_model = (self.processor_path, self.target_sr, self.asr_block_token_id_from)
        if any(value is not None for value in about_model) or self.dtype not in {None, "auto"}:
            refused += self._refused_by(resolve(model))
        if refused:
            raise OptionError("; ".join(refused))

    def _refused(self) -> Iterator[str]:
        if self.do_sample:
            yield "--do-sample: decoding is greedy; leave it out"
        if self.temperature not in {None, 0.0}:
            yield f"--temperature {self.temperature:g}: decoding is greedy; leave it out"
        if self.repetition_penalty not in {None, 1.0}:
            yield (
                f"--repetition-penalty {self.repetition_penalty:g}: there is none, tokens keep "
                "their own probabilities; leave it out"
            )
        if self.padding_side is not None:
            yield (
                "--padding-side: a recording's text does not depend on its neighbours in a batch, "
                "so there is no side to choose; leave it out"
            )
        if self.attn_impl not in {None, "auto"}:
            yield f"--attn-impl {self.attn_impl}: the engine has one attention; leave it out"

    def _refused_by(self, folder: ModelFolder) -> Iterator[str]:
        if folder.kind in ("speech-llm", "audio8"):
            yield (
                f"{folder.name} is laid out as {folder.kind}, whose tokenizer, rate and precision "
                "are its own: leave out --processor-path, --target-sr, --asr-block-token-id-from "
                "and --dtype"
            )
            return
        tokenizer = Tokenizer.load(folder.path)
        if self.processor_path is not None and not _same(self.processor_path, folder.path):
            yield "--processor-path: tokenizer and features come from the model's own folder"
        rate = tokenizer.config.features.sample_rate
        if self.target_sr not in {None, rate}:
            yield (
                f"--target-sr {self.target_sr}: the model hears {rate} Hz, "
                "and recordings of any rate are brought to it; leave it out"
            )
        if self.asr_block_token_id_from is not None and not _blocks_the_same(
            tokenizer, self.asr_block_token_id_from
        ):
            yield (
                f"--asr-block-token-id-from {self.asr_block_token_id_from}: the model's tokenizer "
                "says other ids that are never text; leave it out"
            )
        precision = {"fp32": "float32"}.get(folder.precision or "fp32", folder.precision)
        if self.dtype not in {None, "auto", precision}:
            yield (
                f"--dtype {self.dtype}: {folder.name} runs in {precision}; leave it out, or choose "
                "another package of the model"
            )


def _same(path: str, folder: Path) -> bool:
    return expand(path).resolve() == folder.resolve()


def _blocks_the_same(tokenizer: Tokenizer, first: int) -> bool:
    asked = replace(tokenizer, config=replace(tokenizer.config, block_from=first))
    return np.array_equal(asked.suppressed_ids, tokenizer.suppressed_ids)

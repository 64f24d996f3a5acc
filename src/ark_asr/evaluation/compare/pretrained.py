"""What the adapters of models inside of transformers have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ark_asr.errors import ModelError


class Pretrained:
    """A processor and a model, opened from a folder: no network, no pickles, no foreign code.

    Args:
        place: The folder.
        threads: CPU threads.
        precision: ``fp32`` or ``bf16``.
        kind: Name of the model's class in transformers.
        since: The first release of transformers in which it does what its adapter expects.

    Raises:
        ModelError: The transformers that is installed is older, or does not have that class.
    """

    def __init__(
        self, place: str, threads: int, precision: str, kind: str, since: str = "5.10"
    ) -> None:
        import torch
        import transformers
        from packaging.version import Version

        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        found = getattr(transformers, kind, None)
        if found is None or Version(transformers.__version__) < Version(since):
            raise ModelError(
                f"transformers {transformers.__version__} has no {kind} as it is needed; "
                "pip install --upgrade transformers"
            )
        self.precision = precision
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        here = {"local_files_only": True, "trust_remote_code": False}
        self.processor: Any = transformers.AutoProcessor.from_pretrained(place, **here)
        self.model: Any = found.from_pretrained(
            place, dtype=self._dtype, use_safetensors=True, **here
        ).eval()

    def generate(self, inputs: Any, **options: Any) -> Any:  # noqa: ANN401 - tensors by name
        """Token ids of the likeliest tokens one by one ``[1, n]``."""
        import torch

        with torch.inference_mode():
            return self.model.generate(
                **inputs.to(dtype=self._dtype), do_sample=False, num_beams=1, **options
            )

    def answer(self, inputs: Any, **options: Any) -> Any:  # noqa: ANN401
        """`generate` for a model that repeats its prompt: without the prompt."""
        return self.generate(inputs, **options)[:, inputs["input_ids"].shape[1] :]


def model_type(place: str) -> str:
    """What a folder's ``config.json`` says it is.

    Raises:
        ModelError: It does not say so.
    """
    from ark_asr.models.config import read_json

    found = read_json(Path(place) / "config.json")
    kind = found.get("model_type") if isinstance(found, dict) else None
    if not isinstance(kind, str):
        raise ModelError(f"{place}: config.json has no model_type")
    return kind

"""What a system must do to be compared, and the families of systems that are known."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol, TypeAlias

from ark_asr.types import FloatArray

RATE = 16_000
Told: TypeAlias = Literal["needs", "takes", "finds"]


class Backend(Protocol):
    """One system, loaded. Everything is heard one clip at a time and decoded greedily.

    Attributes:
        precision: What its weights are computed in, such as ``int8``; empty if it does not say.
    """

    precision: str

    def hear(self, clip: FloatArray, language: str) -> str:
        """The text of a clip.

        Args:
            clip: float32 ``[n]``, mono, 16 kHz, at most as long as the comparison's clips.
            language: ISO 639 code of what is spoken; empty if it is not known.
        """
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """Systems that one adapter runs.

    Attributes:
        name: What a user writes before the colon.
        module: The adapter, in this package; it has ``load(place, threads, precision)``.
        title: What runs it, for people.
        packages: Python packages that must be there.
        extra: What brings them.
        language: Whether the spoken language must be said, can be, or is always found out.
        precisions: What can be asked for with ``@``; the first is the default.
        files: Files of a repository that are fetched; nothing that can hold code is among them.
        weights: One of these names shows that the weights are there.
    """

    name: str
    module: str
    title: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    language: Told = "finds"
    precisions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()

    @property
    def is_fetched(self) -> bool:
        """Whether its weights are files of a repository on the Hugging Face hub."""
        return bool(self.files)

    @property
    def missing(self) -> str | None:
        """The first package that is not installed."""
        return next((name for name in self.packages if find_spec(name) is None), None)

    def load(self, place: str, threads: int, precision: str) -> Backend:
        """Open a system; imports what it needs, so only the process that runs it calls this."""
        adapter = import_module(f"{__package__}.{self.module}")
        backend: Backend = adapter.load(place, threads, precision)
        return backend


_HUB = ("*.json", "*.txt", "*.jinja", "*.model")


def _in_transformers(name: str, language: Told) -> Family:
    return Family(
        name,
        module=name.replace("-", "_"),
        title="transformers",
        packages=("torch", "transformers"),
        extra="transformers",
        language=language,
        precisions=("fp32", "bf16"),
        files=(*_HUB, "*.safetensors"),
        weights=("*.safetensors",),
    )


FAMILIES = {
    family.name: family
    for family in (
        Family("ark", "ark", "ark-asr"),
        _in_transformers("whisper", "takes"),
        _in_transformers("qwen3-asr", "takes"),
        _in_transformers("cohere-asr", "needs"),
        _in_transformers("glm-asr", "finds"),
        _in_transformers("moonshine", "finds"),
        _in_transformers("parakeet", "finds"),
        Family(
            "faster-whisper", "faster_whisper", "CTranslate2", ("faster_whisper",),
            "faster-whisper", "takes", ("default", "int8", "float32"),
            (*_HUB, "model.bin"), ("model.bin",),
        ),
        Family(
            "onnx-asr", "onnx_asr", "ONNX Runtime", ("onnx_asr",), "onnx-asr", "takes",
            ("fp32", "int8"), (*_HUB, "*.onnx", "*.onnx.data", "*.onnx_data"), ("*.onnx",),
        ),
        Family("server", "server", "HTTP", language="takes"),
    )
}  # fmt: skip


def most_tokens(clip: FloatArray) -> int:
    """More than anyone says in so much time; a system that runs away is stopped there."""
    return 32 + int(12 * len(clip) / RATE)

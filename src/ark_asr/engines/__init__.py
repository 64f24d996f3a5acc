"""Numbers out of a model: one small protocol, several engines behind it."""

from __future__ import annotations

from pathlib import Path

from ark_asr.engines.base import DecoderState, Engine
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.store import ModelFolder, resolve

ENGINES = ("onnx", "torch")

__all__ = ["ENGINES", "DecoderState", "Engine", "load_engine"]


def load_engine(
    model: str | Path | ModelFolder | None = None,
    engine: str | None = None,
    threads: int | None = None,
) -> Engine:
    """Open a model.

    Args:
        model: Name, folder, or what ``resolve`` found; ``None`` for the default model.
        engine: ``onnx`` runs our packages, ``torch`` runs safetensors checkpoints; ``None`` takes
            the one that fits the folder.
        threads: Threads to compute with; ``None`` for all physical cores.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: A file of it is damaged, or the engine cannot run this kind of folder.
        MissingExtraError: The engine is not installed.
        OptionError: There is no such engine, or ``threads`` is not positive.
    """
    if engine is not None and engine not in ENGINES:
        raise OptionError(f"engine {engine!r} is not known; {' and '.join(ENGINES)} are")
    folder = model if isinstance(model, ModelFolder) else resolve(model)
    fitting = "onnx" if folder.kind == "package" else "torch"
    if engine is not None and engine != fitting:
        raise ModelFormatError(
            f"{folder.path}: is a {folder.kind}, which runs on engine {fitting!r}, not {engine!r}"
        )
    if fitting == "onnx":
        from ark_asr.engines.ort import OnnxEngine

        return OnnxEngine.load(folder.path, threads=threads)
    from ark_asr.engines.torch import TorchEngine

    return TorchEngine.load(folder.path, threads=threads)

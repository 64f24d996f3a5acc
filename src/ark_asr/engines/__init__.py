"""Numbers out of a model: one small protocol, several engines behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from ark_asr.engines.base import AnyEngine, DecoderState, Engine, check_threads
from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.models.layouts import engine_of
from ark_asr.models.store import ModelFolder, resolve
from ark_asr.models.tokenizer import TextCodec, Tokenizer

ENGINES = ("onnx", "torch")

__all__ = [
    "ENGINES",
    "DecoderState",
    "Engine",
    "batches_itself",
    "check_engine",
    "load_engine",
    "load_model",
    "open_model",
]


@runtime_checkable
class _WithText(Protocol):
    """An engine of a layout that does not part numbers from text."""

    tokenizer: TextCodec


def batches_itself(engine: str | None) -> bool:
    """Whether this engine (as for `open_model`) is a `Writer`, to be asked by several threads."""
    return engine == "vllm" or _is_url(engine)


def check_engine(
    folder: ModelFolder, engine: str | None = None, threads: int | None = None
) -> None:
    """Refuse what `open_model` would refuse, as far as that shows before anything is opened.

    Raises:
        ModelFormatError: The engine cannot run this kind of folder.
        OptionError: There is no such engine, or it cannot have so many threads.
    """
    check_threads(threads)
    if batches_itself(engine):
        if threads is not None:
            raise OptionError("threads: vLLM has its own setting, VLLM_CPU_OMP_THREADS_BIND")
        if folder.kind != "checkpoint":
            raise ModelFormatError(f"{folder.path}: is a {folder.kind}; vLLM runs checkpoints")
    elif _device_of(engine):
        if folder.kind != "checkpoint":
            raise ModelFormatError(f"{folder.path}: is a {folder.kind}; PyTorch runs checkpoints")
    else:
        _check_fits(folder, engine)


def open_model(
    folder: ModelFolder, engine: str | None = None, threads: int | None = None
) -> tuple[AnyEngine, TextCodec]:
    """As `load_model`, and also for engines that search by themselves.

    Args:
        folder: What ``resolve`` found.
        engine: As for `load_engine`; or ``torch:DEVICE`` (``torch:cuda``), ``torch-compile:DEVICE``
            (see `ark_asr.engines.torch_steps.CompiledSteps`), ``vllm``, or the URL of a vLLM server
            that serves this model.
        threads: As for `load_engine`; vLLM has settings of its own for that.

    Raises:
        ModelError: The server does not answer, or serves another model.
        ModelFormatError: As for `load_engine`; PyTorch and vLLM run checkpoints.
        MissingExtraError: PyTorch or vLLM is not installed.
        OptionError: As for `load_engine`; there is no such device; nothing can be compiled for it;
            or ``threads`` is given to vLLM.
    """
    check_engine(folder, engine, threads)
    if device := _device_of(engine):
        compiled = str(engine).startswith("torch-compile:")
        return _on_device(folder, device, threads, compiled=compiled)
    if not batches_itself(engine):
        return load_model(folder, engine, threads)
    if _is_url(engine):
        from ark_asr.engines.vllm_server import VllmServer

        server = VllmServer.open(str(engine), folder.path)
        return server, server.tokenizer
    from ark_asr.engines.vllm import VllmEngine

    loaded = VllmEngine.load(folder.path)
    return loaded, loaded.tokenizer


def load_model(
    model: str | Path | ModelFolder | None = None,
    engine: str | None = None,
    threads: int | None = None,
) -> tuple[Engine, TextCodec]:
    """Open a model and its text side; arguments and errors as for `load_engine`."""
    folder = model if isinstance(model, ModelFolder) else resolve(model)
    loaded = load_engine(folder, engine, threads)
    if isinstance(loaded, _WithText):
        return loaded, loaded.tokenizer
    return loaded, Tokenizer.load(folder.path)


def load_engine(
    model: str | Path | ModelFolder | None = None,
    engine: str | None = None,
    threads: int | None = None,
) -> Engine:
    """Open a model.

    Args:
        model: Name, folder, or what ``resolve`` found; ``None`` for the default model.
        engine: ``onnx`` runs packages, ``torch`` runs safetensors checkpoints; ``None`` takes
            the one that fits the folder.
        threads: Threads to compute with; ``None`` for all physical cores.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: A file of it is damaged, or the engine cannot run this kind of folder.
        MissingExtraError: The engine is not installed.
        OptionError: There is no such engine, or ``threads`` is not positive.
    """
    folder = model if isinstance(model, ModelFolder) else resolve(model)
    _check_fits(folder, engine)
    if folder.kind == "package":
        from ark_asr.engines.ort import OnnxEngine

        return OnnxEngine.load(folder.path, threads=threads)
    if folder.kind == "llm-kv":
        from ark_asr.engines.llm_kv import LlmKvEngine

        return LlmKvEngine.load(folder.path, threads=threads)
    if folder.kind == "speech-llm":
        from ark_asr.engines.speech_llm import SpeechLlmEngine

        return SpeechLlmEngine.load(folder.path, threads=threads)
    if folder.kind == "audio8":
        from ark_asr.engines.audio8 import Audio8Engine

        return Audio8Engine.load(folder.path, threads=threads)
    from ark_asr.engines.torch import TorchEngine

    return TorchEngine.load(folder.path, threads=threads)


def _check_fits(folder: ModelFolder, engine: str | None) -> None:
    if engine is not None and engine not in ENGINES:
        raise OptionError(f"engine {engine!r} is not known here; {' and '.join(ENGINES)} are")
    fitting = engine_of(folder.kind)
    if engine is not None and engine != fitting:
        raise ModelFormatError(
            f"{folder.path}: is a {folder.kind}, which runs on engine {fitting!r}, not {engine!r}"
        )


def _device_of(engine: str | None) -> str:
    """Of ``torch:DEVICE`` and ``torch-compile:DEVICE``; empty for all others."""
    name, _, device = (engine or "").partition(":")
    return device if name in ("torch", "torch-compile") else ""


def _on_device(
    folder: ModelFolder, device: str, threads: int | None, *, compiled: bool
) -> tuple[AnyEngine, TextCodec]:
    from ark_asr.engines.torch_writer import TorchWriter

    loaded = TorchWriter.load(folder.path, device, threads=threads, compiled=compiled)
    return loaded, loaded.tokenizer


def _is_url(engine: str | None) -> bool:
    return engine is not None and engine.startswith(("http://", "https://"))

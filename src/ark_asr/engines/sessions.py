"""How our graphs are opened: ONNX Runtime's settings, and what this machine can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ark_asr.errors import ModelFormatError

# What `ark_asr/__init__.py` sets is read too late where another module loaded the runtime first.
ort.disable_telemetry_events()


def session_options(threads: int) -> ort.SessionOptions:
    """ONNX Runtime's settings for our graphs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads wait actively between the nodes of a run, but not between runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    _make_pool()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # It would put the slow fused node back that the graph avoids.
    options.add_session_config_entry(
        "optimization.disable_specified_optimizers", "SkipLayerNormFusion"
    )
    if int8_saturates():
        # Take the exact kernel, which is slower. Never set elsewhere: it would be taken there too.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@cache
def _make_pool() -> None:
    """One pool of working memory for all graphs of the process; weights are not in it.

    Encoder and decoder run in turn, so what one has left serves the other.
    """
    place = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(place, None)


@cache
def int8_saturates() -> bool:
    """Whether the runtime's fast int8 kernel adds in 16 bits here (x86 without VNNI), tried out."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = open_session(Path(__file__).parent / "probe.onnx", options)
    x = np.full(session.get_inputs()[0].shape, 255, np.uint8)
    (y,) = session.run(["y"], {"x": x})
    return bool((y != 255 * 127 * x.shape[1]).any())


def open_session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Raises:
        ModelFormatError: The runtime cannot load it.
    """
    try:
        # Without this it says on standard output, where transcripts go, that it tries again.
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelFormatError(f"{path}: ONNX Runtime cannot load it ({reason})") from None

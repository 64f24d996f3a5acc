"""The variables of the deploy script that the models were published with.

They are read for ``--engine vllm`` only: `PORT` or `HOST` may be set for anything else. What is
given on the command line goes before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ark_asr.errors import OptionError
from ark_asr.server.beside import Place

_OPTIONS = {
    "MODEL": "--model",
    "HOST": "--host",
    "MAX_NUM_SEQS": "--batch-size",
    "MAX_NEW_TOKENS": "--max-new-tokens",
}
_OF_VLLM = {
    "GPU": "CUDA_VISIBLE_DEVICES",
    "GPU_MEMORY_UTILIZATION": "VLLM_GPU_MEMORY_UTILIZATION",
    "MAX_NUM_SEQS": "VLLM_MAX_NUM_SEQS",
    "MAX_NUM_BATCHED_TOKENS": "VLLM_MAX_NUM_BATCHED_TOKENS",
    "MAX_MODEL_LEN": "VLLM_MAX_MODEL_LEN",
}
_NUMBERS = ("PORT", "MAX_NUM_SEQS", "MAX_NUM_BATCHED_TOKENS", "MAX_MODEL_LEN", "MAX_NEW_TOKENS")


def check(variables: Mapping[str, str]) -> None:
    """Refuse what is no number, before a server is started that would.

    Raises:
        OptionError: Names the variable.
    """
    for name in _NUMBERS:
        if (text := variables.get(name)) and not text.isdecimal():
            raise OptionError(f"{name} is {text!r}; it must be a number")


def arguments(given: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Options of ``ark-asr serve``: those that are given, and what the variables say of others."""
    names = {one.split("=")[0] for one in given}
    told = [
        part
        for name, option in _OPTIONS.items()
        if (text := variables.get(name)) and option not in names
        for part in (option, text)
    ]
    return [*given, *told]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables that vLLM, or `ark_asr.engines.vllm`, reads; those that are set already stay."""
    told = {there: text for name, there in _OF_VLLM.items() if (text := variables.get(name))}
    return {**told, **variables}


def place(folder: Path | None, port: int, variables: Mapping[str, str]) -> Place:
    """Where its files are."""
    run = folder or Path(variables.get("RUN_DIR") or ".")
    files = [
        run / name if (name := variables.get(variable)) else None
        for variable in ("PID_FILE", "LOG_FILE")
    ]
    return Place(run, port, *files)

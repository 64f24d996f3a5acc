"""Devices and precisions as faster-whisper names them, which callers send to every backend."""

from __future__ import annotations

import re
import warnings

from ark_asr.errors import ArkWarning, OptionError

_DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu)(:\d+)?")
_COMPUTE_TYPES = frozenset({
    "auto", "default", "float32", "float16", "bfloat16", "int16", "int8", "int8_float32",
    "int8_float16", "int8_bfloat16",
})  # fmt: skip
_ANY = frozenset({"auto", "default"})


def cpu_instead(device: str, compute_type: str | None, precision: str | None) -> None:
    """Say it when something else is asked for than what is there: the CPU.

    Args:
        device: For example ``cuda``.
        compute_type: For example ``float16``; ``None`` for any.
        precision: Of the model's files, in which it is computed.

    Raises:
        OptionError: There is no such device or compute type.
    """
    if not _DEVICE.fullmatch(device):
        raise OptionError(f"device is {device!r}; it must be cpu, auto or cuda")
    if compute_type is not None and compute_type not in _COMPUTE_TYPES:
        known = ", ".join(sorted(_COMPUTE_TYPES))
        raise OptionError(f"compute_type is {compute_type!r}; it must be one of {known}")
    other_type = compute_type not in {None, precision, *_ANY}
    if device not in ("auto", "cpu") or other_type:
        asked = f"{device}, {compute_type}" if other_type else device
        warnings.warn(
            f"{asked}: not to be had, the model runs on the CPU as {precision or 'its files are'}; "
            "device='cpu', compute_type='default' ask for that",
            ArkWarning,
            stacklevel=3,
        )

"""What this computer's processor can do for int8 products."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

# As Linux spells them, best first for each kind of processor.
_X86 = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI",
        "avx512f": "AVX-512", "avx2": "AVX2"}  # fmt: skip
_ARM = {"i8mm": "i8mm", "asimddp": "dot product", "asimd": "NEON"}
_APPLE = {"hw.optional.arm.FEAT_I8MM": "i8mm", "hw.optional.arm.FEAT_DotProd": "dot product",
          "hw.optional.avx512f": "AVX-512", "hw.optional.avx2_0": "AVX2"}  # fmt: skip


def cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    if name := dict(_cpuinfo()).get("model name"):
        return name
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def int8_instructions() -> list[str] | None:
    """What the processor has of the instructions that int8 products use; ``None`` if not known."""
    told = dict(_cpuinfo())  # the same for every core
    for key, known in (("flags", _X86), ("Features", _ARM)):
        flags = told.get(key, "").split()
        if flags:
            return [said for flag, said in known.items() if flag in flags]
    if platform.system() == "Darwin":
        return [said for name, said in _APPLE.items() if _sysctl(name) == "1"]
    return None


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _sysctl(name: str) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed command
        ["/usr/sbin/sysctl", "-n", name], check=False, capture_output=True, text=True
    )
    return done.stdout.strip()

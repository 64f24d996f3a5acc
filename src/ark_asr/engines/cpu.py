"""What this computer's processor can do for int8 products, and how much of it may be used."""

from __future__ import annotations

import math
import os
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


def usable_cores() -> int:
    """Cores that this process may keep busy: physical ones, and no more than a container's limit.

    What a control group allows is time, not cores: a pod with ``cpu: 2`` sees all 64 cores of its
    node. Threads on all of them use the time up at once, and then stand still together.
    """
    limit = cpu_limit()
    return min(_physical_cores(), max(math.ceil(limit), 1)) if limit else _physical_cores()


def cpu_limit(
    own: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Processors' worth of time that the control groups of this process allow (Linux).

    Args:
        own: Names the groups of a process.
        groups: Where the groups are mounted.

    Returns:
        The least limit of the groups it is in and of those around them; ``None`` if there is none.
    """
    limits = []
    for line in _lines(own):
        controllers, _, name = line.partition(":")[2].partition(":")
        if controllers == "":
            top, read = groups, _limit_v2
        elif "cpu" in controllers.split(","):
            top, read = groups / "cpu", _limit_v1
        else:
            continue
        # In a container the name may be the host's; its own group is the top one then.
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            limits.append(read(folder))
            if folder == top:
                break
    return min((limit for limit in limits if limit is not None), default=None)


def _limit_v2(group: Path) -> float | None:
    """``200000 100000``: microseconds of time in each period; ``max`` is no limit."""
    for line in _lines(group / "cpu.max"):
        quota, _, period = line.partition(" ")
        return None if quota == "max" else int(quota) / int(period)
    return None


def _limit_v1(group: Path) -> float | None:
    """The same in two files; -1 is no limit."""
    found = [_lines(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    if not all(found):
        return None
    quota, period = (int(lines[0]) for lines in found)
    return quota / period if quota > 0 else None


def _physical_cores() -> int:
    """Those on which the system lets this process run."""
    if not hasattr(os, "sched_getaffinity"):
        return max((os.cpu_count() or 2) // 2, 1)
    cores = set()
    for cpu in os.sched_getaffinity(0):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            package, core = (topology / name for name in ("physical_package_id", "core_id"))
            cores.add((package.read_text(), core.read_text()))
        except OSError:
            cores.add(("", str(cpu)))
    return len(cores)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _cpuinfo() -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in _lines(Path("/proc/cpuinfo")))
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _sysctl(name: str) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed command
        ["/usr/sbin/sysctl", "-n", name], check=False, capture_output=True, text=True
    )
    return done.stdout.strip()

"""How many threads a graph gets: physical cores, and no more than a container may use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.engines import cpu

V1 = Path("/sys/fs/cgroup/cpu")


def limit(folder, own, files):
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cpu.cpu_limit(folder / "own", folder / "groups")


POD = "0::/kubepods/pod7/box\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        (POD, {"kubepods/pod7/box/cpu.max": "max 100000", "kubepods/pod7/cpu.max": "50000 100000"},
         0.5),
        (POD, {"kubepods/pod7/cpu.max": "300000 100000", "kubepods/cpu.max": "150000 100000"}, 1.5),
        # The host's name for the group, which the container sees as the top one.
        ("4:memory:/docker/7\n2:cpu,cpuacct:/docker/7\n",
         {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ("2:cpu:/a\n",
         {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpuset:/a\n", {"cpuset/a/cpu.cfs_quota_us": "100\n"}, None),
        ("2:cpu:/a:b\n0::/\n",
         {"cpu/a:b/cpu.cfs_quota_us": "100000\n", "cpu/a:b/cpu.cfs_period_us": "50000\n"}, 2.0),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)  # fmt: skip
def test_limits_of_control_groups(tmp_path, own, files, expected):
    assert limit(tmp_path, own, files) == expected


def test_a_system_without_control_groups_has_no_limit(tmp_path):
    assert cpu.cpu_limit(tmp_path / "none", tmp_path) is None


@given(st.none() | st.floats(0.001, 1000))
def test_there_is_a_thread_for_each_processor_that_may_be_busy(allowed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "cpu_limit", lambda: allowed)
        patch.setattr(cpu, "_physical_cores", lambda: 8)
        threads = cpu.usable_cores()
    if allowed is None:
        assert threads == 8
    else:
        assert 1 <= threads <= 8
        assert threads >= min(allowed, 8)
        assert threads - 1 < allowed


@pytest.fixture
def group():
    """A control group of this machine, which may use half a processor."""
    name = V1 / f"ark-asr-{os.getpid()}"
    try:
        name.mkdir()
        (name / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no control group of this kind can be made here ({error})")
    yield name
    for _ in range(50):
        try:
            name.rmdir()
            break
        except OSError:  # a process is still ending
            time.sleep(0.1)


@pytest.fixture
def inside(group):
    """What a program prints that runs in the group."""

    def run(code, *arguments):
        join = "import os, sys; open(sys.argv.pop(1), 'w').write(str(os.getpid()))\n"
        command = [sys.executable, "-c", join + code, str(group / "cgroup.procs"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


def test_a_real_group_gives_one_thread(inside):
    code = "from ark_asr.engines.cpu import *; print(cpu_limit(), usable_cores())"
    assert inside(code).split() == ["0.5", "1"]


def test_pytorch_keeps_to_it_too(inside):
    pytest.importorskip("torch")
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from ark_asr.engines.torch import set_threads\n"
        "set_threads(None); print(torch.get_num_threads())\n"
        "set_threads(2); print(torch.get_num_threads())"
    )
    assert inside(code).split() == ["1", "2"]


def test_doctor_says_what_the_process_may_use(inside):
    said = inside("from ark_asr.cli import main; main()", "doctor", "--seconds", "0")
    assert "threads      1 (this process may use 0.5 cores)" in said

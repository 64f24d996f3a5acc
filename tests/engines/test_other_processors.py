"""The int8 kernels of processors that the tests do not run on, under QEMU: slow, but exact."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys

import pytest

QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")


@pytest.mark.skipif(QEMU is None, reason="QEMU's user mode (qemu-user) is not installed")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs this system's own Python")
@pytest.mark.parametrize(
    ("processor", "kernel"),
    [
        ("Haswell", "slower kernel: the fast one saturates"),  # AVX2 without VNNI
        ("Nehalem", "fast kernel, exact here"),  # SSE 4.2 only
    ],
)
def test_an_older_processor_takes_the_exact_kernel_and_hears_the_same(processor, kernel):
    done = subprocess.run(
        [str(QEMU), "-cpu", processor, sys.executable, "-m", "ark_asr", "doctor", "--seconds", "3"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert f"int8         {kernel}" in lines
    assert lines[-1].strip() == "there was a light in the window of the house"

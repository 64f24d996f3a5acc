"""Models that tell a student how a text goes on, behind one protocol.

A teacher is heard once per batch: it is given the sound of each clip and the text that the student
wrote (or a transcript), and says for every place in it what it would write next.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ark_asr.errors import OptionError
from ark_asr.models.home import expand
from ark_asr.training.teachers.base import Scores, Teacher

if TYPE_CHECKING:
    from ark_asr.training.teachers.config import TeacherConfig

__all__ = ["Scores", "Teacher", "load_teacher"]


def load_teacher(config: TeacherConfig, base: Path, device: str) -> Teacher:
    """The teacher that a recipe names.

    Args:
        config: What kind, and where.
        base: Folder to which its paths are relative.
        device: Where it runs.

    Raises:
        OptionError: An option is missing, or of another kind of teacher.
        ModelError: Its files are missing or damaged, or its server does not answer.
        MissingExtraError: It needs transformers.
    """
    teacher = _open(config, base, device)
    if config.plain:
        teacher.vocabulary = teacher.vocabulary.plain()
    return teacher


def _open(config: TeacherConfig, base: Path, device: str) -> Teacher:
    folder = base / expand(config.model)
    match config.kind:
        case "ark":
            from ark_asr.training.teachers.ark import ArkTeacher

            return ArkTeacher.load(folder, device, config.dtype)
        case "whisper":
            from ark_asr.training.teachers.whisper import WhisperTeacher

            return WhisperTeacher.load(folder, device, config.dtype, config.language)
        case "qwen3-asr":
            from ark_asr.training.teachers.qwen3_asr import Qwen3AsrTeacher

            return Qwen3AsrTeacher.load(folder, device, config.dtype, config.language)
        case "server":
            from ark_asr.training.teachers.server import ServerTeacher

            return ServerTeacher.connect(config, base)
    raise OptionError(f"teacher.kind is {config.kind!r}; ark, whisper, qwen3-asr and server are")

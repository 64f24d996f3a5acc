"""A teacher of another family that writes down recordings here: Whisper, Moonshine, Parakeet..."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ark_asr.audio import open_audio
from ark_asr.audio.clips import cut
from ark_asr.batch.places import recording
from ark_asr.batch.records import Prediction, Record
from ark_asr.errors import ModelError, ModelNotFoundError, OptionError
from ark_asr.evaluation.compare.base import FAMILIES, RATE, Backend, Family
from ark_asr.evaluation.compare.worker import one_line
from ark_asr.types import Segment

_LONGEST = 30.0  # what a Whisper hears at once; all families take it
_OWN = ("ark", "server")


def family_of(model: str | None) -> tuple[Family, str] | None:
    """The family and the folder of ``FAMILY:FOLDER``; ``None`` for any other name."""
    name, _, place = (model or "").partition(":")
    if name not in FAMILIES or name in _OWN or not place:
        return None
    return FAMILIES[name], place


class Stranger:
    """``whisper:FOLDER`` and the like, with weights that are here; nothing is fetched.

    Args:
        family: What runs it; its adapter is the one of ``ark-asr compare``: one clip at a time,
            greedily.
        place: Folder of the model.
        language: What is spoken; empty if it is not to be told.
        threads: CPU threads.

    Raises:
        ModelNotFoundError: There is no such folder.
        OptionError: A package is missing, or the language is.
    """

    def __init__(self, family: Family, place: str, language: str, threads: int) -> None:
        if not Path(place).is_dir():
            raise ModelNotFoundError(f"{place}: no such folder; a teacher's weights must be here")
        if family.missing:
            raise OptionError(
                f"{family.missing} is not installed; pip install 'ark-asr[{family.extra}]'"
            )
        if family.language == "needs" and not language:
            raise OptionError(f"{family.name} must be told what is spoken; give --language")
        if family.language == "finds" and language:
            raise OptionError(f"{family.name} cannot be told what is spoken; leave out --language")
        self._family, self._place, self._language = family, place, language
        self._threads = threads

    def predict(self, records: Sequence[Record], *, vad: bool) -> Iterator[Prediction]:
        """A prediction for each record, in order; its segments are the clips that were heard.

        Args:
            records: Recordings, or parts of some.
            vad: Cut out what is speech; off, a record is heard as it is.

        Raises:
            ModelError: The folder does not hold such a model.
        """
        try:
            backend = self._family.load(self._place, self._threads, self._family.precisions[0])
        except Exception as error:  # noqa: BLE001 - a library raises what it likes
            raise ModelError(f"{self._place}: {one_line(error)}") from None
        for record in records:
            try:
                yield self._hear(backend, record, vad=vad)
            except Exception as error:  # noqa: BLE001 - a library raises what it likes
                yield Prediction(error=one_line(error))

    def _hear(self, backend: Backend, record: Record, *, vad: bool) -> Prediction:
        begin = record.begin if record.begin > 0 else None
        end = record.end if record.end >= 0 else None
        segments = []
        seconds = 0.0
        with (
            recording(record.path) as source,
            open_audio(source, sample_rate=RATE, begin=begin, end=end) as stream,
        ):
            for clip in cut(stream, _LONGEST, vad=vad):
                text = backend.hear(clip.samples, self._language)
                seconds += clip.duration
                if text:
                    segments.append(Segment(clip.start, clip.end, text, text, None, 0))
        text = " ".join(segment.text for segment in segments)
        return Prediction(text=text, raw_text=text, segments=tuple(segments), seconds=seconds)

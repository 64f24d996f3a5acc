"""Who spoke when, found in the sound itself by sherpa-onnx's offline diarisation.

A model looks at windows of the recording and says where up to three voices speak; another makes a
vector of what each of them says there; vectors that are alike are one speaker (H. Bredin,
"pyannote.audio 2.1 speaker diarization pipeline", Interspeech 2023). The vectors live in memory
only while a recording is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from ark_asr.audio import Source, find_speech, open_audio, readable_again
from ark_asr.engines.base import check_threads
from ark_asr.engines.cpu import usable_cores
from ark_asr.errors import MissingExtraError, ModelFormatError, OptionError
from ark_asr.kinds import of_kind
from ark_asr.models.speakers import SAMPLE_RATE, SpeakerModels, window_samples
from ark_asr.pipeline.speakers import SpeakerTurn, with_letters
from ark_asr.types import Progress

# Of cosine distances; what sherpa-onnx and most of its users take.
THRESHOLD = 0.5


class Diarizer:
    """Loaded models; for one recording after another.

    Args:
        models: The two files.
        count: How many people speak, if that is known, which helps much.
        threshold: Without ``count``: voices that are farther apart are two speakers.
        threads: CPU threads; ``None`` for all physical cores.

    Raises:
        MissingExtraError: sherpa-onnx is not installed.
        OptionError: ``count``, ``threshold`` or ``threads`` makes no sense.
        ModelFormatError: sherpa-onnx cannot use the models.
    """

    def __init__(
        self,
        models: SpeakerModels,
        *,
        count: int | None = None,
        threshold: float = THRESHOLD,
        threads: int | None = None,
    ) -> None:
        of_kind("count", count, int | None)
        if count is not None and count < 1:
            raise OptionError(f"{count!r} speakers make no sense; at least 1")
        if not 0 < of_kind("threshold", threshold, float) < 2:
            raise OptionError(f"threshold is {threshold!r}; it must be between 0 and 2")
        check_threads(threads)
        if find_spec("sherpa_onnx") is None:
            raise MissingExtraError("telling speakers apart", "speakers")
        import sherpa_onnx as so

        # Of one window sherpa-onnx takes the voices as they are, however many were asked for.
        self._shortest = 1 + window_samples(models) if count else 0
        threads = threads or usable_cores()
        network = so.OfflineSpeakerSegmentationPyannoteModelConfig(str(models.segmentation))
        config = so.OfflineSpeakerDiarizationConfig(
            segmentation=so.OfflineSpeakerSegmentationModelConfig(network, threads),
            embedding=so.SpeakerEmbeddingExtractorConfig(str(models.embedding), threads),
            clustering=so.FastClusteringConfig(count or -1, threshold),
        )
        try:
            self._diarization = so.OfflineSpeakerDiarization(config)
        except Exception as error:  # noqa: BLE001 - what the library raises has no common base
            reason = str(error).strip().splitlines()[0][:300]
            raise ModelFormatError(f"{models.segmentation}, {models.embedding}: {reason}") from None

    def turns(
        self,
        source: Source,
        *,
        source_rate: int | None = None,
        begin: float | None = None,
        end: float | None = None,
        track: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> tuple[SpeakerTurn, ...]:
        """The turns of a recording, in order of time; ``Speaker A`` is the first who speaks.

        The part that is looked at is in memory as a whole, twice: 460 MB for each hour.

        Args:
            source: As for `Recognizer.transcribe`, but not a pipe, which can be read only once.
            source_rate: Hz of an array.
            begin: First second to look at.
            end: Last second to look at.
            track: As for `TranscribeOptions`.
            progress: Told how far it is as voices are compared, which takes most of the time.
            cancelled: Asked as often as ``progress`` is called; if so, there are no turns.

        Raises:
            AudioError: The sound cannot be used.
            OptionError: It is a pipe.
        """
        began = time.perf_counter()
        if not readable_again(source):
            raise OptionError("a pipe can be read only once; telling speakers apart needs a file")
        with open_audio(
            source,
            sample_rate=SAMPLE_RATE,
            begin=begin,
            end=end,
            source_rate=source_rate,
            track=track,
        ) as sound:
            blocks = list(sound)
        if not find_speech(blocks):  # sherpa-onnx would print that it finds nobody
            return ()
        samples = np.concatenate([block.samples for block in blocks])
        start, seconds = blocks[0].start, len(samples) / SAMPLE_RATE
        blocks.clear()
        if len(samples) < self._shortest:
            samples = np.pad(samples, (0, self._shortest - len(samples)))

        def report(done: int, total: int) -> int:
            if cancelled is not None and cancelled():
                raise _CancelledError
            if progress is not None:
                progress(Progress(seconds * done / total, seconds, time.perf_counter() - began))
            return 0

        try:
            found = self._diarization.process(samples, report).sort_by_start_time()
        except _CancelledError:
            return ()
        return with_letters(  # the last window goes on after the recording has ended
            SpeakerTurn(start + one.start, start + min(one.end, seconds), str(one.speaker))
            for one in found
            if one.start < seconds
        )


class _CancelledError(Exception):
    """The only way out of sherpa-onnx: it takes no notice of what the callback returns."""

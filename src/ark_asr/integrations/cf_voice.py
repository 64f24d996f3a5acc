"""ARK-ASR as speech-to-text of cf-voice, in the place of its Whisper.

Importing this module needs numpy only; everything else is imported when a backend is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ark_asr.errors import OptionError
from ark_asr.integrations.devices import cpu_instead
from ark_asr.integrations.languages import language_of
from ark_asr.integrations.sound import RATE, from_pcm
from ark_asr.types import Word

if TYPE_CHECKING:
    from ark_asr.integrations.sessions import Shown
    from ark_asr.pipeline import Recognizer

MODEL_VARIABLE = "CF_VOICE_ARK_MODEL"
THREADS_VARIABLE = "CF_VOICE_ARK_THREADS"
INTERIM_VARIABLE = "CF_VOICE_ARK_INTERIM"
# BCP 47 for a language that is not known; cf-voice's field is text, never None.
UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True, slots=True)
class STTResult:
    """What cf-voice's own result holds, and behind it what it has no place for.

    Attributes:
        text: What is to be read; empty if nothing was said, or nothing new.
        language: ISO 639 code; ``und`` if it is not known.
        duration_s: Seconds of the chunk.
        is_final: The text will not change. If not, the next result's text takes its place.
        confidence: 0 to 1; 0 without text.
        words: Of a final result: with their times, in seconds since the session's first chunk, to
            be joined with the turns of a diarisation (`ark_asr.integrations.speakers`).
    """

    text: str
    language: str
    duration_s: float
    is_final: bool
    confidence: float = 0.0
    words: tuple[Word, ...] = ()


class ARKASRBackend:
    """Has the shape of cf-voice's ``WhisperSTT``: `from_env` and `transcribe_chunk_async`.

    Security. The published ARK-ASR checkpoints ask for ``trust_remote_code=True``. This backend
    neither fetches nor runs such code: encoder, decoder and processor are written anew in this
    package, models are read as numbers, JSON and text, and no connection is opened. The code that
    is not run was audited all the same, by a third party (DeafBench, 2026-08-10), at the commit
    that `ark-asr models pull` takes of AutoArk-AI/ARK-ASR-0.6B,
    ``45776b56d58cdfb2e2eb632f7e110f38684633e0``:

    - ``configuration_arkasr.py``
      ``f7dc852c604f985b675c866e352ce81dfbc69f3a6c69646d0863adf9dd6e3aed``
    - ``modeling_arkasr.py``
      ``b15aa7f98fc3de644ad68df2ebee3b16229763a0988a273cca92a1bf0ec33333``
    - ``modeling_audio.py``
      ``645093b34975a9556503384bb10ad9cf23d8b137bbe0cad1cc50715cf0d21fd3``
    - ``processing_arkasr.py``
      ``1db5338f55e714f97eb5d8ed076568897dda7339cb585e3b13fc7d8782c1a94e``

    It found no dynamic execution beyond importing these modules, no use of the network, and no file
    read but ``processor_config.json`` and the recording. ``docs/security.md`` says what is verified
    when, and how to check each claim.

    Chunks of a session are heard as one stream, so that words which a chunk cuts in two are heard
    whole. While somebody speaks, each result holds the utterance so far, with ``is_final`` false;
    when the utterance is over, its text comes once more, final. cf-voice's guards hold: nothing
    under 0.3 s by itself, silence under an RMS of 0.005, no text that is one of its hallucination
    tokens or comes a third time in a row. Nothing is stored or logged.

    Args:
        model_name: Name or folder of a model; ``None`` for the small English one that comes with
            this package. See ``ark-asr models list``.
        device: ``auto`` or ``cpu``; anything else is warned of and runs on the CPU.
        compute_type: Likewise; the precision is that of the model's files.
        threads: CPU threads; ``None`` for all physical cores.
        interim: Whether there are results that are not final. Without them a caller can append each
            text to the last one, but gets none before an utterance is over.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: It is damaged.
        OptionError: There is no such device or compute type.
    """

    def __init__(
        self,
        model_name: str | None = None,
        device: str = "auto",
        compute_type: str | None = None,
        *,
        threads: int | None = None,
        interim: bool = True,
    ) -> None:
        from ark_asr.integrations.sessions import Sessions
        from ark_asr.models.store import languages_of, resolve
        from ark_asr.pipeline import Recognizer

        folder = resolve(model_name)
        cpu_instead(device, compute_type, folder.precision)
        self._recognizer: Recognizer = Recognizer.load(folder.path, threads=threads)
        self._languages = languages_of(self._recognizer.name)
        self._sessions = Sessions(self._recognizer, words=True)
        self._interim = interim

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> ARKASRBackend:
        """Made as CF_VOICE_ARK_MODEL, CF_VOICE_ARK_THREADS and CF_VOICE_ARK_INTERIM say.

        Raises:
            OptionError: One of them makes no sense; else as the class.
        """
        threads = environment.get(THREADS_VARIABLE) or None
        if threads is not None and not (threads.isdecimal() and int(threads)):
            raise OptionError(f"{THREADS_VARIABLE} is {threads!r}; it must be a number, at least 1")
        interim = environment.get(INTERIM_VARIABLE) or "1"
        if interim not in ("0", "1"):
            raise OptionError(f"{INTERIM_VARIABLE} is {interim!r}; it must be 0 or 1")
        return cls(
            environment.get(MODEL_VARIABLE) or None,
            threads=int(threads) if threads else None,
            interim=interim == "1",
        )

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self._recognizer.name

    async def transcribe_chunk_async(
        self, pcm_int16: bytes, language: str | None = None, session_id: str = ""
    ) -> STTResult:
        """Hear the next chunk of a session; the event loop is never blocked.

        Args:
            pcm_int16: 16-bit little-endian mono samples, 16 kHz; half a second to three seconds.
            language: BCP 47 tag that is expected; any is taken, none changes a word.
            session_id: Whose chunk it is; needed only where several sessions share the backend.
                A session is forgotten when it ends or 90 s after its last chunk.

        Raises:
            AudioError: The bytes are no such samples.
            BusyError: Too many sessions, or the computer is far too slow.
        """
        samples = from_pcm(pcm_int16)
        shown = await self._sessions.hear(session_id, samples)
        return self._result(shown, language, len(samples) / RATE)

    async def finish_async(self, session_id: str = "", language: str | None = None) -> STTResult:
        """End a session: the last words of it, final; nothing of it is kept."""
        return self._result(await self._sessions.finish(session_id), language, 0.0)

    async def aclose(self) -> None:
        """Forget all sessions and give back the model."""
        await self._sessions.aclose()
        self._recognizer.close()

    def _result(self, shown: list[Shown], language: str | None, duration: float) -> STTResult:
        captions = [one.caption for one in shown if one.caption.final or self._interim]
        finals = [caption for caption in captions if caption.final]
        told = finals or captions[-1:]
        return STTResult(
            text=" ".join(caption.text for caption in told),
            language=language_of(language, self._languages) or UNKNOWN_LANGUAGE,
            duration_s=duration,
            is_final=bool(finals) or not told,
            confidence=min((caption.confidence for caption in told), default=0.0),
            words=tuple(word for caption in finals for word in caption.words),
        )

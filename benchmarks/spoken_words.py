"""Speech whose word times are known exactly, for ``word_times.py``.

Two ways: espeak-ng reports the sample at which it begins each word and each pause; and recordings
of single words are joined, with their own silence cut off and a gap of known length between them.

Where a joined word begins and ends is a matter of how weak a sound still belongs to it, because its
recording holds breath and room noise of its own. So the truth is kept for several limits: from the
first to the last 10 ms that is at most 40, 35, 30 or 25 dB below the word's loudest. 40 dB is where
the recordings are cut before they are joined: all of the word is inside, and more than the word. At
25 dB breath is outside, and so are weak consonants at its edges. The true edge is between the two.

One more truth does not ask for loudness: what Silero VAD, which the alignment knows nothing of,
calls speech in the whole recording, in steps of 8 ms.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from ark_asr.audio import load_audio
from ark_asr.audio.vad import WINDOW, SpeechDetector
from ark_asr.types import Audio, FloatArray

RATE = 16_000
LONGEST = 14.0  # seconds of a clip
# Voices of espeak-ng; none of them was used while the alignment was tuned.
VOICES = ("en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbcwmd", "en-us+f4", "en-029+f3",
          "en-us+m6", "en-gb-x-rp+m2", "en-us+belinda", "en-us+grandpa")  # fmt: skip
# Below the loudest 10 ms of a single word: what counts as the word. The first is where it is cut.
LIMITS_DB = (40, 35, 30, 25)
EXACT = 0  # said by the synthesiser
DETECTED = -1  # said by Silero VAD
_NOISE = 1e-3  # floor in the gaps


@dataclass(frozen=True, slots=True)
class Truth:
    """One word and when it is spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Sound, and its words by the limit of their truth in dB: the same ones, with other times."""

    audio: Audio
    truths: dict[int, tuple[Truth, ...]]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in next(iter(self.truths.values())))


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
_LIST_END, _WORD, _PHONEME = 0, 1, 7


class Espeak:
    """espeak-ng through its library, which tells of words and phonemes as it speaks."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise SystemExit("libespeak-ng was not found: install the package espeak-ng")
        self._lib = ctypes.CDLL(path)
        # 1: retrieve the samples; 1: report phonemes too, among which are the pauses.
        self._rate = self._lib.espeak_Initialize(1, 0, None, 1)
        self._samples: list[np.ndarray] = []
        self._words: list[tuple[int, int, int]] = []  # sample, first byte from 1, bytes
        self._pauses: list[int] = []
        self._callback = _CALLBACK(self._take)  # kept: the library holds a bare pointer
        self._lib.espeak_SetSynthCallback(self._callback)

    def _take(self, samples, count, events) -> int:
        if samples and count > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events and events[index].type != _LIST_END:
            event = events[index]
            if event.type == _WORD:
                self._words.append((event.sample, event.text_position, event.length))
            elif event.type == _PHONEME and event.id.string.startswith(b"_"):
                self._pauses.append(event.sample)
            index += 1
        return 0

    def say(self, text: str, voice: str, pace: int) -> Clip | None:
        """Speak; ``None`` where espeak-ng joins words to one ("of the") or reads them apart."""
        self._samples, self._words, self._pauses = [], [], []
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice}")
        self._lib.espeak_SetParameter(1, pace, 0)  # words a minute
        data = text.encode()
        self._lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, 1, None, None)
        self._lib.espeak_Synchronize()
        spelled = [data[at - 1 : at - 1 + count].decode() for _, at, count in self._words]
        if spelled != text.split():
            return None
        samples = np.concatenate(self._samples)
        starts = [sample for sample, _, _ in self._words]
        words = []
        for start, following, word in zip(
            starts, [*starts[1:], len(samples)], spelled, strict=True
        ):
            end = min((p for p in self._pauses if start < p <= following), default=following)
            words.append(Truth(word, start / self._rate, end / self._rate))
        sound = soxr.resample(samples / np.float32(65536), self._rate, RATE).astype(np.float32)
        return Clip(Audio(sound, RATE), {EXACT: tuple(words)})


def espeak_clips(sentences: Sequence[str], seed: int = 0) -> Iterator[Clip]:
    """Each sentence once, in one voice after the other, at 130 to 200 words a minute."""
    rng = np.random.default_rng(seed)
    espeak = Espeak()
    for number, sentence in enumerate(sentences):
        clip = espeak.say(sentence, VOICES[number % len(VOICES)], int(rng.integers(130, 200)))
        if clip is not None and clip.audio.duration < LONGEST:
            yield clip


def sentences(manifest: Path, split: str) -> list[str]:
    """Different texts of a manifest, four words at least, letters and apostrophes only."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    texts = [str(row.get("text_norm") or row["text"]) for row in rows if row["split"] == split
             and row["language"] == "en"]  # fmt: skip
    plain = [t for t in dict.fromkeys(texts) if t.replace("'", "").replace(" ", "").isalpha()]
    return [text for text in plain if len(text.split()) > 3]


def single_words(
    manifest: Path, source: str, splits: Sequence[str]
) -> dict[str, list[tuple[str, Path]]]:
    """Recordings of single words by speaker: the word and the file."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = str(row.get("text_norm") or row["text"])
        if row["source"].startswith(source) and row["split"] in splits and text.isalpha():
            found.setdefault(row["speaker"], []).append((text, manifest.parent / row["audio"]))
    return found


def joined_clips(recordings: dict[str, list[tuple[str, Path]]], count: int, seed: int = 0):
    """Three to eight words of one speaker, with gaps of 30 to 500 ms that hold a faint noise."""
    rng = np.random.default_rng(seed)
    detector = SpeechDetector()
    speakers = sorted(recordings)
    for number in range(count):
        own = recordings[speakers[number % len(speakers)]]
        parts = [_gap(rng)]
        words: dict[int, list[Truth]] = {limit: [] for limit in (*LIMITS_DB, DETECTED)}
        for index in rng.integers(0, len(own), int(rng.integers(3, 9))):
            text, path = own[index]
            whole = load_audio(path, sample_rate=RATE).samples
            cut, cut_end = loud(whole, LIMITS_DB[0])
            sound = whole[cut:cut_end]
            start = sum(map(len, parts)) / RATE
            if start + len(sound) / RATE > LONGEST:
                break
            for limit in LIMITS_DB:
                first, end = loud(sound, limit)
                words[limit].append(Truth(text, start + first / RATE, start + end / RATE))
            first, end = (min(max(at, cut), cut_end) - cut for at in detected(whole, detector))
            words[DETECTED].append(Truth(text, start + first / RATE, start + end / RATE))
            parts += [sound * np.float32(0.5 / np.abs(sound).max()), _gap(rng)]
        audio = Audio(np.concatenate(parts).astype(np.float32), RATE)
        yield Clip(audio, {limit: tuple(found) for limit, found in words.items()})


def loud(samples: FloatArray, below: float) -> tuple[int, int]:
    """Start and end, in samples, of what is less than ``below`` dB under the loudest 10 ms."""
    step = RATE // 100
    power = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    found = np.flatnonzero(10 * np.log10(power + 1e-12) > 10 * np.log10(power.max()) - below)
    return int(found[0]) * step, int(found[-1] + 1) * step


def detected(samples: FloatArray, detector: SpeechDetector, steps: int = 4) -> tuple[int, int]:
    """Start and end, in samples, of what a detector calls speech; all where it hears none.

    It judges windows of 32 ms; hearing them again from ``steps`` starts within a window, after half
    a second of silence in which it settles, tells where speech begins to a part of that.
    """
    lead = RATE // 2 // WINDOW * WINDOW
    speech = []
    for number in range(steps):
        shift = number * WINDOW // steps
        silence = np.zeros(lead - shift, np.float32)
        detector.reset()
        heard = np.concatenate([silence, samples, np.zeros(WINDOW, np.float32)])
        middles = np.arange(len(heard) // WINDOW) * WINDOW + WINDOW // 2 - len(silence)
        speech += middles[detector.feed(heard) >= 0.5].tolist()
    half = WINDOW // (2 * steps)  # each judgement stands for the step around its window's middle
    inside = [at for at in speech if 0 <= at < len(samples)]
    return (min(inside) - half, max(inside) + half) if inside else (0, len(samples))


def with_noise(clip: Clip, snr: float, seed: int) -> Clip:
    """The same with white noise at that signal-to-noise ratio, in dB."""
    rng = np.random.default_rng(seed)
    samples = clip.audio.samples
    level = np.sqrt((samples**2).mean()) * 10 ** (-snr / 20)
    noisy = samples + rng.normal(0, level, len(samples)).astype(np.float32)
    return Clip(Audio(noisy, RATE), clip.truths)


def _gap(rng: np.random.Generator) -> FloatArray:
    count = int(rng.uniform(0.03, 0.5) * RATE)
    return rng.normal(0, _NOISE, count).astype(np.float32)

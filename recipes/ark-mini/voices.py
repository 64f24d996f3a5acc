"""The synthetic voices: espeak-ng and flite inside the process, festival in batches.

Every engine returns float32 mono samples and their rate. Which voices are held out of training is
decided here, once.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

ACCENTS = (
    "en", "en-us", "en-us", "en-us-nyc", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
    "en-gb-x-rp",
)  # fmt: skip
VARIANTS = (
    "", "Alex", "Alicia", "Andrea", "Andy", "Annie", "AnxiousAndy", "Denis", "Diogo", "Gene",
    "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen",
    "RicishayMax", "RicishayMax2", "RicishayMax3", "Storm", "Tweaky", "adam", "anika", "announcer",
    "antonio", "aunty", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "f1",
    "f2", "f3", "f5", "fast", "grandma", "gustave", "iven", "iven2", "iven3", "iven4", "john",
    "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6", "linda", "m1", "m2",
    "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max", "michel", "miguel", "norbert", "pablo",
    "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "steph3",
    "travis", "victor", "zac",
)  # fmt: skip
ODD_VARIANTS = ("Demonic", "UniRobot", "anikaRobot", "croak", "robosoft", "robosoft3", "whisper",
                "whisperf")  # fmt: skip
HELD_OUT_VARIANTS = ("f4", "grandpa", "belinda")
HELD_OUT_ACCENT = "en-gb-scotland"
FLITE = ("slt", "slt", "awb", "awb", "kal16", "kal16", "kal")
HELD_OUT_FLITE = "rms"
FESTIVAL = ("cmu_us_slt_arctic_hts", "cmu_us_slt_arctic_hts", "kal_diphone")


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of speaking.

    `speed` is relative to the engine's usual pace; `pitch` is 0..1 over the engine's range and
    `liveliness` 0..1 is how far the pitch moves. `shift` resamples the finished sound, which moves
    pitch and formants together: 1.1 is a smaller speaker.
    """

    engine: str
    name: str
    speed: float
    pitch: float
    liveliness: float
    shift: float

    @property
    def speaker(self) -> str:
        """Engine and voice, as written in the manifest."""
        return f"{self.engine}:{self.name}"


def draw_voice(
    rng: np.random.Generator, engines: Sequence[tuple[str, float]], *, held_out: bool
) -> Voice:
    """Draw a voice from `engines` (name, share), from the training or from the held-out ones."""
    names, shares = zip(*engines, strict=True)
    engine = str(rng.choice(names, p=np.asarray(shares) / sum(shares)))
    if engine == "espeak":
        name = _espeak_name(rng, held_out=held_out)
    elif engine == "flite":
        name = HELD_OUT_FLITE if held_out else FLITE[int(rng.integers(len(FLITE)))]
    else:
        name = FESTIVAL[int(rng.integers(len(FESTIVAL)))]
    shift = float(rng.uniform(0.88, 1.12))
    if not held_out and rng.random() < 0.12:
        shift = float(rng.uniform(1.12, 1.32))  # towards children's voices
    if held_out:
        shift = 1.0
    # Shifted up, a voice also gets faster: half of that is taken back by speaking slower.
    speed = float(np.exp(rng.normal(0, 0.17))) / shift**0.5
    return Voice(engine, name, float(np.clip(speed, 0.66, 1.4)), rng.random(), rng.random(), shift)


def _espeak_name(rng: np.random.Generator, *, held_out: bool) -> str:
    accent = ACCENTS[int(rng.integers(len(ACCENTS)))]
    variants = ODD_VARIANTS if rng.random() < 0.03 else VARIANTS
    variant = variants[int(rng.integers(len(variants)))]
    if held_out:
        if rng.random() < 0.4:
            accent, variant = HELD_OUT_ACCENT, ("", "f2", "m3", "f5", "m7")[int(rng.integers(5))]
        else:
            variant = HELD_OUT_VARIANTS[int(rng.integers(len(HELD_OUT_VARIANTS)))]
    return f"{accent}+{variant}" if variant else accent


def _as_float(samples: NDArray[np.int16]) -> Samples:
    return np.asarray(samples / np.float32(32768), np.float32)


def _library(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name)
    if path is None:
        raise RuntimeError(f"lib{name} was not found: install the packages espeak-ng and flite")
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """espeak-ng through its library: about ten times faster than a process per utterance."""

    def __init__(self) -> None:
        self._lib = _library("espeak-ng")
        self._rate = self._lib.espeak_Initialize(1, 0, None, 0)  # 1: retrieve the samples
        if self._rate <= 0:
            raise RuntimeError("espeak-ng did not start: are its voices installed?")
        self._chunks: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._take)  # kept: the library holds a bare pointer
        self._lib.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, spoken: str, voice: Voice) -> tuple[Samples, int]:
        """Speak one line."""
        lib = self._lib
        if lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice.name}")
        lib.espeak_SetParameter(1, int(np.clip(165 * voice.speed, 80, 230)), 0)  # words a minute
        lib.espeak_SetParameter(3, int(20 + 60 * voice.pitch), 0)
        lib.espeak_SetParameter(4, int(20 + 70 * voice.liveliness), 0)
        data = spoken.encode()
        self._chunks.clear()
        if lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, 1, None, None) != 0:
            raise RuntimeError(f"espeak-ng refused {spoken!r}")
        lib.espeak_Synchronize()
        if not self._chunks:
            return np.zeros(0, np.float32), self._rate
        return _as_float(np.concatenate(self._chunks)), self._rate


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p), ("sample_rate", ctypes.c_int), ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int), ("samples", ctypes.POINTER(ctypes.c_short)),
    )  # fmt: skip


class _FliteVoice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


# Mean pitch of each voice in hertz; flite moves it by `int_f0_target_mean`.
_FLITE_F0 = {"slt": 172.0, "awb": 115.0, "kal": 105.0, "kal16": 105.0, "rms": 100.0}


class Flite:
    """The flite voices through their libraries."""

    def __init__(self) -> None:
        for name in ("flite", "flite_usenglish", "flite_cmulex"):
            _library(name)
        self._lib = _library("flite")
        self._lib.flite_init()
        self._lib.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._lib.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.POINTER(_FliteVoice))
        self._lib.feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
        self._lib.delete_wave.argtypes = (ctypes.POINTER(_Wave),)
        self._voices: dict[str, ctypes._Pointer[_FliteVoice]] = {}

    def _voice(self, name: str) -> ctypes._Pointer[_FliteVoice]:
        if name not in self._voices:
            register = getattr(_library(f"flite_cmu_us_{name}"), f"register_cmu_us_{name}")
            register.restype = ctypes.POINTER(_FliteVoice)
            register.argtypes = (ctypes.c_char_p,)
            self._voices[name] = register(None)
        return self._voices[name]

    def say(self, spoken: str, voice: Voice) -> tuple[Samples, int]:
        """Speak one line."""
        handle = self._voice(voice.name)
        features = handle.contents.features
        mean = _FLITE_F0[voice.name] * 2 ** ((voice.pitch - 0.5) * 0.7)
        self._lib.feat_set_float(features, b"duration_stretch", 1 / voice.speed)
        self._lib.feat_set_float(features, b"int_f0_target_mean", mean)
        self._lib.feat_set_float(features, b"int_f0_target_stddev", 6 + 22 * voice.liveliness)
        made = self._lib.flite_text_to_wave(spoken.encode(), handle)
        if not made:
            raise RuntimeError(f"flite refused {spoken!r}")
        count, rate = made.contents.num_samples, made.contents.sample_rate
        samples = np.ctypeslib.as_array(made.contents.samples, (max(count, 1),))[:count]
        result = _as_float(samples)
        self._lib.delete_wave(made)
        return result, rate


class Festival:
    """Festival: one process for a whole list of lines, because it starts slowly."""

    def __init__(self) -> None:
        if shutil.which("festival") is None:
            raise RuntimeError("festival was not found: install the package festival")

    def say_all(self, lines: Sequence[tuple[str, Voice]]) -> list[tuple[Samples, int]]:
        """Speak all lines; grouped by voice, because a change of voice costs time."""
        with tempfile.TemporaryDirectory() as folder:
            script = []
            current = ""
            for i in sorted(range(len(lines)), key=lambda i: lines[i][1].name):
                spoken, voice = lines[i]
                if voice.name != current:
                    script.append(f"(voice_{voice.name})")
                    current = voice.name
                script.append(f"(Parameter.set 'Duration_Stretch {1 / voice.speed:.3f})")
                said = f'(utt.synth (Utterance Text "{spoken}"))'
                script.append(f'(utt.save.wave {said} "{folder}/{i}.wav" \'riff)')
            done = subprocess.run(
                ["festival", "--pipe"],
                input="\n".join(script),
                text=True,
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"festival failed: {done.stderr.strip()[-300:]}")
            return [_read_wave(Path(folder) / f"{i}.wav") for i in range(len(lines))]


def _read_wave(path: Path) -> tuple[Samples, int]:
    if not path.exists():
        raise RuntimeError(f"festival did not write {path.name}")
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return _as_float(data), file.getframerate()

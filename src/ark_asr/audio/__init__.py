"""Sound in: decoding, log-mel, voice activity, clips.

A recording goes through `open_audio` (blocks of `Audio`), `cut` (clips) and `LogMel` (features).
"""

from ark_asr.audio.clips import ClipCutter, cut
from ark_asr.audio.decode import SAMPLE_RATE, AudioStream, load_audio, open_audio
from ark_asr.audio.mel import LogMel, mel_filters
from ark_asr.audio.regions import CutOptions, find_speech
from ark_asr.audio.sources import Source, readable_again
from ark_asr.audio.vad import WINDOW, Detector, SpeechDetector

__all__ = [
    "SAMPLE_RATE",
    "WINDOW",
    "AudioStream",
    "ClipCutter",
    "CutOptions",
    "Detector",
    "LogMel",
    "Source",
    "SpeechDetector",
    "cut",
    "find_speech",
    "load_audio",
    "mel_filters",
    "open_audio",
    "readable_again",
]

"""The road itself: from a recording to its transcript."""

from ark_asr.audio.capture import Pump, file_blocks, paced, pcm_blocks
from ark_asr.audio.microphone import Microphone
from ark_asr.decoding.hotwords import read_hot_words
from ark_asr.engines import batches_itself, check_engine
from ark_asr.engines.cpu import usable_cores
from ark_asr.pipeline.channels import transcribe_channels
from ark_asr.pipeline.diarize import Diarizer
from ark_asr.pipeline.journal import Journal
from ark_asr.pipeline.live import LiveSession
from ark_asr.pipeline.many import Task
from ark_asr.pipeline.recognizer import Recognizer, load
from ark_asr.pipeline.rttm import Rttm
from ark_asr.pipeline.speakers import Speakers, SpeakerTurn, with_letters

__all__ = [
    "Diarizer",
    "Journal",
    "LiveSession",
    "Microphone",
    "Pump",
    "Recognizer",
    "Rttm",
    "SpeakerTurn",
    "Speakers",
    "Task",
    "batches_itself",
    "check_engine",
    "file_blocks",
    "load",
    "paced",
    "pcm_blocks",
    "read_hot_words",
    "transcribe_channels",
    "usable_cores",
    "with_letters",
]

"""The road itself: from a recording to its transcript."""

from ark_asr.pipeline.live import LiveSession
from ark_asr.pipeline.many import Task
from ark_asr.pipeline.recognizer import Recognizer, load

__all__ = ["LiveSession", "Recognizer", "Task", "load"]

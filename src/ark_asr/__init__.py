"""Private speech-to-text with ARK-ASR models: on a CPU, with no remote code."""

__version__ = "0.1.0"

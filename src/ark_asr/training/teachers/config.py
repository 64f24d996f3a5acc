"""Which teacher a recipe asks."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ark_asr.errors import OptionError

_LONGEST_WAIT = 86_400.0
_KINDS = {
    "ark": {"model", "plain", "dtype"},
    "whisper": {"model", "plain", "dtype", "language"},
    "qwen3-asr": {"model", "plain", "dtype", "language"},
    "server": {
        "model",
        "plain",
        "url",
        "tokenizer",
        "prefix",
        "lead",
        "top_k",
        "key_variable",
        "timeout",
    },
}


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """The teacher of a distillation.

    Attributes:
        kind: ``ark``, ``whisper``, ``qwen3-asr``, or ``server`` for an OpenAI-compatible one.
        model: Folder of its checkpoint; for a server the model's name there.
        plain: Take what it writes in lower case and without punctuation: for a student that writes
            so and a teacher that does not.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        language: What is spoken; a code such as ``en``. Qwen3-ASR guesses without it, a Whisper
            for several languages must know.
        url: Of the server, up to and including ``/v1``.
        tokenizer: The ``tokenizer.json`` of the server's model.
        prefix: What the server's model writes before a transcript, such as
            ``language English<asr_text>``.
        lead: What the server's model writes before the first word: a space, or nothing.
        top_k: Log-probabilities asked of the server for each place; vLLM allows 20 by default.
        key_variable: Environment variable with the server's key; empty for none.
        timeout: Seconds until a request of the server is given up, and for which one that is asked
            too often (429) is asked again.
    """

    kind: str = "ark"
    model: str = ""
    plain: bool = False
    dtype: str = "float32"
    language: str = ""
    url: str = ""
    tokenizer: str = ""
    prefix: str = ""
    lead: str = ""
    top_k: int = 20
    key_variable: str = ""
    timeout: float = 120.0

    def check(self, where: str) -> None:
        """Refuse what is missing or belongs to another kind of teacher.

        Raises:
            OptionError: Says which.
        """
        if self.kind not in _KINDS:
            raise OptionError(f"{where}: teacher.kind is one of {', '.join(_KINDS)}")
        if not self.model:
            raise OptionError(f"{where}: teacher.model is missing")
        if self.dtype not in {"float32", "bfloat16", "float16"}:
            raise OptionError(f"{where}: teacher.dtype is float32, bfloat16 or float16")
        for field in fields(self):
            unset = getattr(self, field.name) == field.default
            if not unset and field.name not in _KINDS[self.kind] | {"kind"}:
                raise OptionError(f"{where}: a teacher of kind {self.kind} has no {field.name}")
        if self.kind == "server" and not (self.url and self.tokenizer):
            raise OptionError(f"{where}: a teacher on a server needs url and tokenizer")
        if self.top_k < 1 or not 0 < self.timeout <= _LONGEST_WAIT:
            raise OptionError(
                f"{where}: teacher.top_k is more than 0, teacher.timeout too, and a day at most"
            )

"""Conversations with one recording, and the prompt that the model was trained with.

The chat template that published checkpoints carry is not what they were trained with. The prompt is
built here, as in `ark_asr.models.tokenizer`: user marker, audio, words, assistant marker, with no
newline anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import (
    ASSISTANT,
    AUDIO,
    BEGIN_OF_AUDIO,
    END_OF_AUDIO,
    INSTRUCTION,
    USER,
)

Conversation: TypeAlias = Sequence[Mapping[str, Any]]

# How a recording stands in a prompt; the marker becomes as many as it has audio embeddings.
AUDIO_PART = BEGIN_OF_AUDIO + AUDIO + END_OF_AUDIO
# The same prompt for programs that render templates; sound alone gets the instruction of training.
# It takes the place of the one in published folders, which is not what models were trained with.
CHAT_TEMPLATE = "".join((
    "{%- for message in messages -%}",
    "{%- if not loop.first or message.role != 'user' -%}",
    "{{ raise_exception('a conversation is one message of role user') }}",
    "{%- endif -%}",
    USER,
    "{%- set ns = namespace(words=false) -%}",
    "{%- for part in message.content -%}",
    "{%- if part.type == 'audio' -%}",
    AUDIO_PART,
    "{%- elif '<|' in part.text -%}",
    "{{ raise_exception('text cannot hold control tokens') }}",
    "{%- else -%}",
    "{%- set ns.words = true -%}{{ part.text }}",
    "{%- endif -%}",
    "{%- endfor -%}",
    f"{{%- if not ns.words -%}}{INSTRUCTION}{{%- endif -%}}",
    "{%- endfor -%}",
    f"{{%- if add_generation_prompt -%}}{ASSISTANT}{{%- endif -%}}",
))  # fmt: skip


def prompt_of(conversation: Conversation, *, answer: bool) -> str:
    """The prompt, its audio as one marker.

    Args:
        conversation: See `ArkasrProcessor.apply_chat_template`.
        answer: End with the marker that asks for the answer.

    Raises:
        OptionError: The conversation is of another form.
    """
    pieces, words = [USER], False
    for part in _parts(conversation):
        if part.get("type") == "audio":
            pieces.append(AUDIO_PART)
        elif part.get("type") != "text":
            raise OptionError(f"a part of type {part.get('type')!r}; audio and text are known")
        elif not isinstance(part.get("text"), str):
            raise OptionError("a part of type 'text' needs its words as 'text'")
        elif "<|" in part["text"]:
            raise OptionError("text cannot hold control tokens, which begin with '<|'")
        else:
            words = True
            pieces.append(part["text"])
    if not words:
        pieces.append(INSTRUCTION)
    return "".join([*pieces, ASSISTANT] if answer else pieces)


def audio_part(conversation: Conversation) -> Mapping[str, Any]:
    """Its one recording, as the caller described it.

    Raises:
        OptionError: There is none, or more than one.
    """
    parts = [part for part in _parts(conversation) if part["type"] == "audio"]
    if len(parts) != 1 or all(parts[0].get(name) is None for name in ("path", "audio")):
        raise OptionError("a conversation needs one part of type 'audio' with a path or samples")
    return parts[0]


def _parts(conversation: Conversation) -> Sequence[Mapping[str, Any]]:
    """The parts of its only message."""
    message = conversation[0] if len(conversation) == 1 else None
    if not isinstance(message, Mapping) or message.get("role") != "user":
        raise OptionError("a conversation is one message of role 'user'")
    parts = message.get("content")
    if not isinstance(parts, Sequence) or not all(isinstance(part, Mapping) for part in parts):
        raise OptionError("the content of a message is a list of parts, each with its 'type'")
    return parts

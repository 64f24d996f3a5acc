"""The objects of the interface, each field explained, as ``/openapi.json`` shows them."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, get_args

from ark_asr.server.host import State
from ark_asr.server.jobs.records import Status

Schema: TypeAlias = dict[str, Any]


def typed(kind: str, about: str, **more: object) -> Schema:
    """A value of one type; ``integer?`` may be null."""
    null = kind.endswith("?")
    return {"type": [kind[:-1], "null"] if null else kind, "description": about, **more}


def listed(items: Schema, about: str) -> Schema:
    """Several values."""
    return {"type": "array", "items": items, "description": about}


def ref(name: str) -> Schema:
    """One of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def fields(about: str, properties: dict[str, Schema], optional: str = "") -> Schema:
    """An object that has all of its fields but the optional ones; readers skip others."""
    required = [name for name in properties if name not in optional.split()]
    return {
        "type": "object", "description": about, "required": required, "properties": properties,
    }  # fmt: skip


_START = typed("number", "Where it begins, in seconds of the recording.", minimum=0)
_END = typed("number", "Where it ends, in seconds of the recording.", minimum=0)
_SECONDS = typed("number", "Seconds of sound.", minimum=0)
_TEXT = typed("string", "All that was said.")
_TASK = typed("string", "Nothing else is done here.", const="transcribe")
_CONFIDENCE = typed(
    "number?", "Share of the words that is expected to be right; null if nothing was said.",
    minimum=0, maximum=1,
)  # fmt: skip
_FLAGS = listed({"type": "string"}, "Codes of anything unusual, see docs/json-schema.md.")
_WARNINGS = listed({"type": "string"}, "One line for each thing that is wrong with the recording.")
_TOKEN_COUNT = {"type": "integer", "minimum": 0}

_ERROR = fields("What went wrong.", {
    "message": typed("string", "One line: what was wrong, and what to do."),
    "type": typed("string", "What kind of error.", enum=[
        "invalid_request_error", "rate_limit_error", "server_error"]),
    "param": typed("string?", "The field that it is about."),
    "code": typed("string?", "A word for programs."),
})  # fmt: skip

SCHEMAS: Final[dict[str, Schema]] = {
    "ErrorDetail": _ERROR,
    "ErrorAnswer": fields("Errors have OpenAI's shape.", {"error": ref("ErrorDetail")}),
    "AsrErrorAnswer": fields("An error of `/asr`, in both shapes.", {
        "error": ref("ErrorDetail"),
        "detail": typed("string", "The same message, where the models' first service has it."),
    }),
    "AsrFieldError": fields("A field that is missing or of the wrong type.", {
        "type": typed("string", "A word for programs."),
        "loc": listed({"type": "string"}, "`body`, and the field."),
        "msg": typed("string", "What was wrong."),
        "input": typed("string?", "What was sent."),
    }),
    "AsrFieldErrors": fields("All fields that are missing or of the wrong type.", {
        "detail": listed(ref("AsrFieldError"), "One for each of them.")}),
    "Health": fields("That it answers.", {"status": typed("string", "Always.", const="ok")}),
    "Ready": fields("How far the first model is.", {
        "status": typed("string", "`ready`: it can be used.", enum=list(get_args(State))),
        "model": typed("string", "Its name."),
        "speakers": typed("boolean", "Whether this server can tell speakers apart."),
        "error": typed("string", "Why it cannot be used."),
    }, optional="error"),
    "TokenState": fields("Whether a token can be written.", {
        "id": typed("integer?", "Its number; null: the model has no such token."),
        "blocked": typed("boolean", "It is never written."),
        "allowed": typed("boolean", "It can be written."),
    }),
    "TokenMask": fields("Which tokens can be written at all.", {
        "allowed_count": typed("integer", "How many can be."),
        "blocked_count": typed("integer", "How many cannot be."),
        "eos_token_ids": listed({"type": "integer"}, "Those that end a text."),
        "tokens": {
            "type": "object", "description": "The special ones, by their text.",
            "additionalProperties": ref("TokenState"),
        },
    }),
    "AsrSampling": fields("The values that were used.", {
        "max_new_tokens": typed("integer", "Most tokens of a clip.", minimum=1),
        "temperature": typed("number", "0."),
        "top_p": typed("number", "1."),
        "top_k": typed("integer", "-1."),
        "repetition_penalty": typed("number", "1."),
    }),
    "AsrAnswer": fields("What was said, as the models' first service tells it.", {
        "text": _TEXT,
        "latency_s": typed("number", "Seconds that it took.", minimum=0),
        "prompt_tokens": typed("integer", "Tokens of a prompt, its sound counted as one."),
        "sampling": ref("AsrSampling"),
        "warnings": _WARNINGS,
    }, optional="warnings"),
    "InputTokenDetails": fields("What was heard and asked.", {
        "audio_tokens": {**_TOKEN_COUNT, "description": "Audio embeddings, 12.5 a second."},
        "text_tokens": {**_TOKEN_COUNT, "description": "Tokens of the instructions."},
    }),
    "TokenUsage": fields("Tokens that were really used.", {
        "type": typed("string", "Counted in tokens.", const="tokens"),
        "input_tokens": {**_TOKEN_COUNT, "description": "Of all prompts."},
        "input_token_details": ref("InputTokenDetails"),
        "output_tokens": {**_TOKEN_COUNT, "description": "That were written."},
        "total_tokens": {**_TOKEN_COUNT, "description": "All of them."},
    }),
    "DurationUsage": fields("Sound that was heard.", {
        "type": typed("string", "Counted in seconds.", const="duration"),
        "seconds": {**_TOKEN_COUNT, "description": "Rounded up."},
    }),
    "TokenLogprob": fields("One token, as the search saw it.", {
        "token": typed("string", "Its text; of several that make one character, theirs."),
        "bytes": listed({"type": "integer"}, "The same in UTF-8."),
        "logprob": typed("number", "Natural logarithm of its probability."),
    }),
    "Transcription": fields("`json`.", {
        "text": _TEXT,
        "logprobs": listed(ref("TokenLogprob"), "With `include[]` only."),
        "usage": ref("TokenUsage"),
        "warnings": _WARNINGS,
    }, optional="logprobs warnings"),
    "TimedWord": fields("One word.", {
        "word": typed("string", "The word."), "start": _START, "end": _END}),
    "TimedSegment": fields("What one clip says.", {
        "id": typed("integer", "Counted from 0."),
        "seek": typed("integer", "Its begin in hundredths of a second."),
        "start": _START, "end": _END,
        "text": typed("string", "What was said in it."),
        "tokens": listed({"type": "integer"}, "What the model wrote."),
        "temperature": typed("number", "0."),
        "avg_logprob": typed("number", "Mean of the tokens' log-probabilities."),
        "compression_ratio": typed("number", "Bytes of the text to those of its zlib packing."),
        "no_speech_prob": typed("number", "0: the model gives none.", const=0),
        "confidence": _CONFIDENCE, "flags": _FLAGS,
    }),
    "VerboseTranscription": fields("`verbose_json`.", {
        "task": _TASK,
        "language": typed("string", "ISO 639 code if the model has one language, else `unknown`."),
        "duration": _SECONDS, "text": _TEXT,
        "words": listed(ref("TimedWord"), "If `timestamp_granularities[]` asks for `word`."),
        "segments": listed(ref("TimedSegment"), "Unless it asks for `word` only."),
        "usage": ref("DurationUsage"), "warnings": _WARNINGS,
    }, optional="words segments warnings"),
    "SpeakerSegment": fields("What one speaker says.", {
        "type": typed("string", "As among events.", const="transcript.text.segment"),
        "id": typed("string", "`seg_` and its number."), "start": _START, "end": _END,
        "text": typed("string", "What was said in it."),
        "speaker": typed("string", "`A` speaks first; `unknown` where nobody is near."),
    }),
    "DiarizedTranscription": fields("`diarized_json`.", {
        "task": _TASK, "duration": _SECONDS, "text": _TEXT,
        "segments": listed(ref("SpeakerSegment"), "Cut where the speaker changes."),
        "usage": ref("TokenUsage"), "warnings": _WARNINGS,
    }, optional="warnings"),
    "ServerVad": fields("Voice activity, with numbers of one's own.", {
        "type": typed("string", "Must be there.", const="server_vad"),
        "threshold": typed("number", "Probability from which speech begins.", minimum=0,
                           maximum=1, default=0.5),
        "prefix_padding_ms": typed(
            "number", "Kept before speech, as far as what was said before leaves room.",
            minimum=0, maximum=5_000, default=200),
        "silence_duration_ms": typed(
            "number", "A longer pause begins a new segment.",
            minimum=0, maximum=3_600_000, default=1_000),
    }, optional="threshold prefix_padding_ms silence_duration_ms"),
    "Model": fields("A model, or another name of one.", {
        "id": typed("string", "The name to ask for."),
        "object": typed("string", "Always.", const="model"),
        "created": typed("integer", "When the server was started, in seconds since 1970."),
        "owned_by": typed("string", "Who serves it."),
        "model": typed("string", "The name of the model itself."),
        "languages": listed({"type": "string"}, "ISO 639 codes; none if that is not known."),
        "state": typed("string", "How far it is.", enum=list(get_args(State))),
    }),
    "ModelList": fields("All models.", {
        "object": typed("string", "Always.", const="list"),
        "data": listed(ref("Model"), "The first one is used where none is named."),
    }),
    "Job": fields("A long job.", {
        "id": typed("string", "Its name, which nobody can guess."),
        "object": typed("string", "Always.", const="transcription.job"),
        "status": typed("string", "How far it is.", enum=list(get_args(Status))),
        "created_at": typed("integer", "Seconds since 1970."),
        "filename": typed("string", "Name of the recording, as it was sent."),
        "model": typed("string", "Its name, as it was asked for."),
        "seconds_done": typed("number", "Seconds that are transcribed.", minimum=0),
        "seconds_total": typed("number?", "Of the recording; null until it has been opened."),
        "queue_position": typed("integer?", "From 1; null unless it waits."),
        "error": {"anyOf": [ref("ErrorDetail"), {"type": "null"}],
                  "description": "Why it failed; else null."},
        "speed": typed("number?", "Times real time; while it runs."),
        "seconds_left": typed("number?", "Until it is done; while it runs."),
    }, optional="speed seconds_left"),
    "JobList": fields("Your jobs.", {
        "object": typed("string", "Always.", const="list"),
        "data": listed(ref("Job"), "The oldest first."),
    }),
    "DeletedJob": fields("A job that is no more.", {
        "id": typed("string", "Its name."),
        "object": typed("string", "Always.", const="transcription.job"),
        "deleted": typed("boolean", "Always true."),
    }),
    "TranscriptWord": fields("One word.", {
        "start": _START, "end": _END, "text": typed("string", "The word."),
        "confidence": typed("number", "Probability that it is right.", minimum=0, maximum=1),
        "speaker": typed("string?", "Who says it, where that is not the segment's."),
    }),
    "TranscriptAlternative": fields("Another reading.", {
        "text": typed("string", "What it says."), "confidence": _CONFIDENCE}),
    "TranscriptSegment": fields("What was said in a stretch.", {
        "start": _START, "end": _END,
        "text": typed("string", "For readers."),
        "raw_text": typed("string", "What the decoder chose, before clean-up."),
        "confidence": _CONFIDENCE,
        "tokens": typed("integer", "How many were written.", minimum=0),
        "flags": _FLAGS,
        "speaker": typed("string?", "Null unless speakers were told apart."),
        "words": listed(ref("TranscriptWord"), "In order, if their times are known."),
        "alternatives": listed(ref("TranscriptAlternative"), "None in a job."),
    }),
    "Transcript": fields("The json of this program, see docs/json-schema.md.", {
        "schema": typed("string", "Always.", const="ark-asr/transcript"),
        "version": typed("integer", "Counts up when a field changes its meaning.", minimum=1),
        "source": typed("string", "Name of the recording."),
        "model": typed("string", "Name of the model."),
        "duration": _SECONDS, "text": _TEXT,
        "segments": listed(ref("TranscriptSegment"), "In order of time."),
        "timings": typed("object?", "Null in a job."),
        "warnings": _WARNINGS,
    }),
}  # fmt: skip

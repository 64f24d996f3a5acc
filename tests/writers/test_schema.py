"""What is written is what docs/json-schema.md says."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from ark_asr.types import FLAGS, Alternative, Segment, Timings, Transcript, Trouble, Word
from ark_asr.writers import get_writer
from ark_asr.writers.records import VERSION

KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def check(value, schema, where="$"):
    """The part of JSON Schema that the page uses; a keyword that is not known fails."""
    for keyword, rule in schema.items():
        match keyword:
            case "type":
                kinds = [rule] if isinstance(rule, str) else rule
                fits = any(isinstance(value, KINDS[kind]) for kind in kinds)
                assert fits, f"{where}: {value!r} is not {rule}"
                assert not isinstance(value, bool), f"{where}: no key is true or false"
            case "const":
                assert value == rule, f"{where}: {value!r} is not {rule!r}"
            case "enum":
                assert value in rule, f"{where}: {value!r} is not one of {rule}"
            case "minimum":
                assert value is None or value >= rule, f"{where}: {value} < {rule}"
            case "maximum":
                assert value is None or value <= rule, f"{where}: {value} > {rule}"
            case "required":
                missing = set() if value is None else set(rule) - set(value)
                assert not missing, f"{where}: {missing} missing"
            case "additionalProperties":
                assert rule is False
                extra = set(value or ()) - set(schema["properties"])
                assert not extra, f"{where}: {extra} not documented"
            case "properties":
                for key, part in (value or {}).items():
                    check(part, rule.get(key, {}), f"{where}.{key}")
            case "items":
                for index, part in enumerate(value):
                    check(part, rule, f"{where}[{index}]")
            case _:
                pytest.fail(f"{where}: the keyword {keyword} is not known to this test")


@pytest.fixture(scope="module")
def schemas(root):
    page = (root / "docs" / "json-schema.md").read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]


TRANSCRIPTS = [
    Transcript((), 0.0, "ark-mini"),
    Transcript(
        (
            Segment(0.0, 1.25, "one", "one", 0.987654, 2),
            Segment(2.0, 3.0, "", "", None, 0, ("length",)),
            Segment(
                3.0,
                4.0,
                "two",
                ". two",
                1.0,
                3,
                ("cancelled",),
                (Word(3.1, 3.50004, "two", 0.98765, "Speaker B"),),
                "Speaker A",
                (Alternative("too", 0.123456), Alternative("", None)),
            ),
        ),
        4.0004,
        "ark-mini",
        "a.wav",
        Timings(4.0, 1.0, None, 0.1, 0.1, 0.1, 0.1),
        ("a.wav is damaged at 3.0 s",),
    ),
]


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_json_fits_its_schema(schemas, transcript):
    written = json.loads(get_writer("json").render(transcript))
    check(written, schemas[0])
    assert written["version"] == VERSION


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_jsonl_fits_its_schema(schemas, transcript):
    lines = get_writer("jsonl").render(transcript).splitlines()
    assert len(lines) == len(transcript.segments)
    for line in lines:
        check(json.loads(line), schemas[1])


def test_every_reason_code_is_documented(root):
    page = (root / "docs" / "json-schema.md").read_text(encoding="utf-8")
    section = page.split("## Reason codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-zA-Z:-]+)` \|", section, re.MULTILINE)
    troubles = get_args(Trouble)
    documented = [
        code
        for row in rows
        for code in ([row] if "CODE" not in row else [row.replace("CODE", it) for it in troubles])
    ]
    assert sorted(documented) == sorted(FLAGS)


def test_the_check_itself_finds_faults(schemas):
    good = json.loads(get_writer("json").render(TRANSCRIPTS[1]))
    faults = (
        {"version": 2}, {"extra": 1}, {"duration": -1.0}, {"duration": "4"}, {"segments": [{}]}
    )  # fmt: skip
    for fault in faults:
        with pytest.raises(AssertionError):
            check(good | fault, schemas[0])
    del good["model"]
    with pytest.raises(AssertionError):
        check(good, schemas[0])

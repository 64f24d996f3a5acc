"""Answers of a server held against its ``/openapi.json``."""

from __future__ import annotations

import jsonschema


def check(told, value, schema):
    """A value has the fields that are described, and no others."""

    def closed(part):
        if isinstance(part, dict):
            more = {"additionalProperties": False} if "properties" in part else {}
            return {**more, **{key: closed(value) for key, value in part.items()}}
        return [closed(one) for one in part] if isinstance(part, list) else part

    jsonschema.validate(
        value, {**closed(schema), "components": closed(told["components"])},
        jsonschema.Draft202012Validator,
    )  # fmt: skip


def checked(told, method, path, answer):
    """An answer is one of those that are described; its body, if that is JSON."""
    assert answer.status_code < 500, answer.text  # those are described, too
    found = told["paths"][path][method]["responses"][str(answer.status_code)]
    kind = answer.headers["content-type"].partition(";")[0]
    content = found["content"][kind]
    if kind == "application/json":
        check(told, answer.json(), content["schema"])
    return answer

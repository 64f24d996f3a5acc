"""``/docs``: the interface to be read by people, made of what ``/openapi.json`` tells programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, TypeAlias

Described: TypeAlias = Mapping[str, Any]

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ark-asr: interface</title>
<link rel="icon" href="page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page/style/tokens.css">
<link rel="stylesheet" href="page/style/base.css">
<link rel="stylesheet" href="page/style/reference.css">
<main>
<h1>Interface</h1>
<p>The same <a href="openapi.json">for programs</a>. Live sound goes over the WebSockets
<code>/live</code> and <code>/v1/realtime</code>; the guide of the server describes them.</p>
"""


def reference(description: Described) -> str:
    """A page without scripts, and without anything from elsewhere.

    Args:
        description: In the form of OpenAPI 3.1.
    """
    routes = (
        _route(f"{verb.upper()} {path}", told)
        for path, verbs in description["paths"].items()
        for verb, told in verbs.items()
    )
    return f"{_HEAD}{''.join(routes)}</main>\n</html>\n"


def _route(name: str, told: Described) -> str:
    answers = dict(sorted(told["responses"].items()))
    about = told["description"].replace("``", "")
    return (
        f"<section><h2><code>{escape(name)}</code></h2><p>{escape(about)}</p>\n"
        + _table("Fields", _fields(told))
        + _table("Answers", ((code, answer["description"]) for code, answer in answers.items()))
        + "".join(_examples(answers))
        + "</section>\n"
    )


def _fields(told: Described) -> Iterator[tuple[str, str]]:
    """Name and meaning of what is in the path, in the query and in the form."""
    for one in told.get("parameters", ()):
        yield one["name"], _meaning(one["schema"], one.get("description", ""))
    form = told.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form:
        for name, schema in form["schema"]["properties"].items():
            required = " (required)" if name in form["schema"]["required"] else ""
            yield name + required, _meaning(schema, schema.get("description", ""))


def _meaning(schema: Described, description: str) -> str:
    values = schema.get("items", schema).get("enum")
    said = [
        description.removesuffix("."),
        "one of " + ", ".join(map(str, values)) if values else schema["type"],
        f"default {schema['default']}" if "default" in schema else "",
    ]
    return "; ".join(filter(None, said))


def _examples(answers: Described) -> Iterator[str]:
    for answer in answers.values():
        for kind, content in answer.get("content", {}).items():
            if example := content.get("example"):
                text = example if isinstance(example, str) else json.dumps(example, indent=2)
                yield f"<p>{escape(kind)}</p><pre>{escape(text.rstrip())}</pre>\n"


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code><td>{escape(meaning)}\n'
        for name, meaning in rows
    )
    return f"<table><caption>{title}</caption>\n{body}</table>\n" if body else ""

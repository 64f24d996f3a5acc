"""``/docs``: the interface to be read by people, made of what ``/openapi.json`` tells programs."""

from __future__ import annotations

import json
import re
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
<p>The same <a href="openapi.json">for programs</a>.</p>
"""
_CODE = re.compile(r"`([^`]+)`")


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
    objects = (_object(*named) for named in description["components"]["schemas"].items())
    about = f"<p>{_text(description['info']['description'])}</p>\n"
    return f"{_HEAD}{about}{''.join(routes)}<h2>Objects</h2>\n{''.join(objects)}</main>\n</html>\n"


def _route(name: str, told: Described) -> str:
    answers = told["responses"]
    key = "<p>Needs a key.</p>\n" if "security" in told else ""
    return (
        f"<section><h2><code>{escape(name)}</code></h2><p>{_text(told['description'])}</p>\n{key}"
        + _table("Fields", _fields(told))
        + _table("Answers", ((code, _answer(answer)) for code, answer in answers.items()))
        + "".join(_examples(answers))
        + "</section>\n"
    )


def _object(name: str, schema: Described) -> str:
    fields = (
        (one if one in schema["required"] else f"{one} (optional)", _meaning(told))
        for one, told in schema["properties"].items()
    )
    return (
        f'<section id="{name}"><h3><code>{name}</code></h3><p>{_text(schema["description"])}</p>\n'
        f"{_table('Fields', fields)}</section>\n"
    )


def _fields(told: Described) -> Iterator[tuple[str, str]]:
    """Name and meaning of what is in the path, in the query and in the form."""
    for one in told.get("parameters", ()):
        yield one["name"], _meaning({**one["schema"], "description": one["description"]})
    form = told.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form:
        for name, schema in form["schema"]["properties"].items():
            required = " (required)" if name in form["schema"]["required"] else ""
            yield name + required, _meaning(schema)


def _meaning(schema: Described) -> str:
    default = schema.get("default")
    said = [
        _text(schema.get("description", "").removesuffix(".")),
        _kind(schema),
        "" if default is None else f"default {escape(json.dumps(default).strip(chr(34)))}",
    ]
    return "; ".join(filter(None, said))


def _kind(schema: Described) -> str:
    """What values there can be."""
    if "items" in schema:
        return f"a list of {_kind(schema['items'])}"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return ("one of " if len(values) > 1 else "") + escape(", ".join(map(str, values)))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    least, most = schema.get("minimum"), schema.get("maximum")
    if most is not None:
        return f"{least}" if least == most else f"{kinds[0]}, {least} to {most}"
    return " or ".join(kinds) + ("" if least is None else f", from {least}")


def _answer(answer: Described) -> str:
    content = answer.get("content", {}).values()
    objects = dict.fromkeys(
        _kind(one["schema"]) for one in content if {"$ref", "anyOf"} & set(one.get("schema", ()))
    )
    headers = [f"header <code>{escape(name)}</code>" for name in answer.get("headers", ())]
    return "; ".join([_text(answer["description"]), *objects, *headers])


def _examples(answers: Described) -> Iterator[str]:
    for answer in answers.values():
        for kind, content in answer.get("content", {}).items():
            if example := content.get("example"):
                text = example if isinstance(example, str) else json.dumps(example, indent=2)
                yield f"<p>{escape(kind)}</p><pre>{escape(text.rstrip())}</pre>\n"


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    """A table; the meanings on the right are HTML already."""
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code><td>{meaning}\n' for name, meaning in rows
    )
    return f"<table><caption>{title}</caption>\n{body}</table>\n" if body else ""

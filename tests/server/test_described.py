"""``/openapi.json`` says what the server does: programs are made of it."""

from __future__ import annotations

import json
import re

import pytest

from ark_asr.server.keys import add_key
from described import check, checked
from serving import eventually, http, serving

TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def told(served):
    return http.get(f"{served.url}/openapi.json").json()


def operations(told):
    for path, verbs in told["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def contents(told):
    """Every answer's content: its place, its type, what is said of it."""
    for name, operation in operations(told):
        for code, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                yield f"{name} {code} {kind}", kind, content


def test_everything_is_named_and_explained(told):
    names = [operation["operationId"] for _, operation in operations(told)]
    assert len(names) == len(set(names))
    assert {tag["name"] for tag in told["tags"]} == {
        tag for _, operation in operations(told) for tag in operation["tags"]
    }
    for name, operation in operations(told):
        assert operation["summary"], name
        assert all(one["description"] for one in operation.get("parameters", ())), name
        assert all(answer["description"] for answer in operation["responses"].values()), name
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        for field, schema in form["schema"]["properties"].items() if form else ():
            assert schema["description"], f"{name} {field}"
    for name, schema in told["components"]["schemas"].items():
        for field, part in schema["properties"].items():
            assert "$ref" in part or part["description"], f"{name}.{field}"


def test_no_answer_is_described_that_nobody_gives(told):
    """A 422 is what FastAPI would answer; only the models' first service does."""
    with_422 = {name for name, one in operations(told) if "422" in one["responses"]}
    assert with_422 == {"POST /asr"}
    assert not any("Successful Response" in json.dumps(one) for _, one in operations(told))


def test_links_and_references_lead_somewhere(told):
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told)):
        assert name in told["components"]["schemas"]
    ids = {operation["operationId"] for _, operation in operations(told)}
    for _, operation in operations(told):
        for answer in operation["responses"].values():
            assert {link["operationId"] for link in answer.get("links", {}).values()} <= ids


def test_every_example_is_what_it_is_an_example_of(told):
    seen = 0
    for place, kind, content in contents(told):
        if kind == "application/json" and "example" in content:
            check(told, content["example"], content["schema"])
            seen += 1
        if kind == "text/event-stream":
            for data in re.findall(r"^data: (.*)$", content["example"], re.M):
                assert json.loads(data), place
    assert seen > 10
    waiting = told["paths"]["/jobs"]["post"]["responses"]["202"]["content"]["application/json"]
    assert waiting["example"]["error"] is None


def test_a_result_has_the_fields_of_the_guide(root, told):
    page = (root / "docs" / "json-schema.md").read_text("utf-8")
    (documented,) = (
        schema
        for block in re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)
        if "segments" in (schema := json.loads(block)).get("properties", {})
    )

    def bare(part):
        if "$ref" in part:
            return bare(told["components"]["schemas"][part["$ref"].rpartition("/")[2]])
        if "properties" in part:
            of = {name: bare(one) for name, one in part["properties"].items()}
            return {"type": part["type"], "required": sorted(part["required"]), "properties": of}
        if "items" in part:
            return {"type": "array", "items": bare(part["items"])}
        return {key: value for key, value in part.items() if key in ("type", "minimum", "maximum")}

    ours = bare(told["components"]["schemas"]["Transcript"])
    theirs = bare(documented)
    for one in (ours, theirs):
        one["properties"]["timings"] = one["properties"]["version"] = None
        one["properties"]["schema"] = None
    assert ours == theirs


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"include[]": "logprobs"}, 200),
        (
            {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]},
            200,
        ),
        ({"response_format": "verbose_json", "timestamp_granularities[]": "word"}, 200),
        ({"response_format": "text"}, 200),
        ({"response_format": "srt"}, 200),
        ({"response_format": "vtt"}, 200),
        ({"stream": "true"}, 200),
        ({"temperature": "0.5"}, 400),
        ({"model": "none"}, 404),
    ],
)
def test_transcriptions_are_as_described(served, told, hello, fields, status):
    files = {"file": ("a.flac", hello.read_bytes())}
    answer = http.post(f"{served.url}{TRANSCRIPTIONS}", files=files, data=fields)
    assert checked(told, "post", TRANSCRIPTIONS, answer).status_code == status


def test_damage_is_as_described(served, told, hello):
    for path in (TRANSCRIPTIONS, "/asr"):
        files = {"file": ("a.flac", hello.read_bytes()[:40_000])}
        answer = http.post(f"{served.url}{path}", files=files, data={"allow_damage": "true"})
        assert checked(told, "post", path, answer).json()["warnings"]


@pytest.mark.parametrize(
    ("fields", "status"), [({}, 200), ({"top_k": "5"}, 400), ({"top_k": "five"}, 422)]
)
def test_the_first_service_is_as_described(served, told, hello, fields, status):
    files = {"file": ("a.flac", hello.read_bytes())}
    answer = http.post(f"{served.url}/asr", files=files, data=fields)
    assert checked(told, "post", "/asr", answer).status_code == status


def test_what_is_asked_for_is_as_described(served, told):
    for path in ("/health", "/ready", "/token-mask", "/metrics", "/v1/models", "/jobs"):
        assert checked(told, "get", path, http.get(served.url + path)).status_code == 200
    for name, status in (("whisper-1", 200), ("none", 404), ("", 404)):
        answer = http.get(f"{served.url}/v1/models/{name}")
        assert checked(told, "get", "/v1/models/{name}", answer).status_code == status
    translations = "/v1/audio/translations"
    answer = http.post(served.url + translations)
    assert checked(told, "post", translations, answer).status_code == 400


def test_a_job_is_as_described_from_its_begin_to_its_end(served, told, hello):
    def asked(method, what="", **options):
        answer = http.request(method, f"{served.url}/jobs/{job}{what}", **options)
        return checked(told, method.lower(), f"/jobs/{{name}}{what}", answer)

    files = {"file": ("a.flac", hello.read_bytes())}
    with served.standing():
        answer = checked(told, "post", "/jobs", http.post(f"{served.url}/jobs", files=files))
        job = answer.json()["id"]
        assert asked("GET").status_code == 200
        assert asked("GET", "/result").status_code == 409
    assert eventually(lambda: asked("GET").json()["status"] == "done")
    assert asked("GET", "/events").status_code == 200
    formats = told["paths"]["/jobs/{name}/result"]["get"]["parameters"][1]["schema"]["enum"]
    for name in formats:
        assert asked("GET", "/result", params={"format": name}).status_code == 200
    assert asked("GET", "/result", params={"format": "pdf"}).status_code == 400
    assert asked("POST", "/cancel").status_code == 200
    assert asked("DELETE").status_code == 200
    assert asked("GET").status_code == 404


def test_a_job_that_fails_says_why_as_described(served, told):
    files = {"file": ("a.flac", b"no recording")}
    job = http.post(f"{served.url}/jobs", files=files).json()["id"]

    def record():
        return checked(told, "get", "/jobs/{name}", http.get(f"{served.url}/jobs/{job}")).json()

    assert eventually(lambda: record()["status"] == "failed")
    assert record()["error"]["code"] == "invalid_audio"
    listed = checked(told, "get", "/jobs", http.get(f"{served.url}/jobs"))
    assert job in {one["id"] for one in listed.json()["data"]}
    assert http.delete(f"{served.url}/jobs/{job}").status_code == 200


def test_full_queues_are_as_described(hello):
    files = {"file": ("a.flac", hello.read_bytes())}
    with serving(max_jobs=1) as narrow:
        told = http.get(f"{narrow.url}/openapi.json").json()
        assert http.post(f"{narrow.url}/jobs", files=files).status_code == 202
        answer = http.post(f"{narrow.url}/jobs", files=files)
        assert checked(told, "post", "/jobs", answer).status_code == 429
        narrow.scheduler._max_queue = 0
        for path in (TRANSCRIPTIONS, "/asr"):
            answer = http.post(narrow.url + path, files=files)
            assert checked(told, "post", path, answer).status_code == 429
            headers = told["paths"][path]["post"]["responses"]["429"]["headers"]
            assert set(map(str.lower, headers)) <= set(answer.headers)


def test_a_key_is_described_where_one_is_needed(tmp_path):
    key = add_key(tmp_path / "keys.txt", "ann")
    with serving(keys=tmp_path / "keys.txt") as locked:
        told = http.get(f"{locked.url}/openapi.json").json()
        assert told["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
        for name, operation in operations(told):
            verb, path = name.split()
            if verb != "GET" or "{" in path:
                continue
            needed = "security" in operation
            assert needed == ("401" in operation["responses"])
            answer = http.get(locked.url + path)
            assert checked(told, "get", path, answer).status_code == (401 if needed else 200)
            answer = http.get(locked.url + path, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == 200
        assert "Needs a key" in http.get(f"{locked.url}/docs").text


def test_who_takes_a_wrong_method_is_told_all_right_ones(served):
    for path, methods in (("/jobs", "GET, POST"), ("/jobs/x", "DELETE, GET"), ("/docs", "GET")):
        answer = http.put(served.url + path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert answer.json()["error"]["message"].endswith(methods)


def test_watchers_may_ask_without_wanting_the_body(served):
    for path in ("/health", "/ready"):
        answer = http.head(served.url + path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "application/json"

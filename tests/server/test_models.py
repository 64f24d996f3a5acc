"""Several models by name: loaded when they are asked for, within a budget, and unloaded again."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from ark_asr.audio import load_audio
from ark_asr.errors import ModelNotFoundError, OptionError
from ark_asr.models.store import resolve
from ark_asr.pipeline import Recognizer
from ark_asr.server.app import create_app
from ark_asr.server.jobs import runner
from ark_asr.server.settings import Settings
from serving import eventually, http, serving

SIZE = resolve().size


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Folders of models that differ from ark-mini in their names only."""
    store = tmp_path_factory.mktemp("store") / "int8"
    for name in ("twin", "third"):
        shutil.copytree(resolve().path, store / name)
        manifest = json.loads((store / name / "ark_asr.json").read_text())
        (store / name / "ark_asr.json").write_text(json.dumps(manifest | {"name": name}))
    return store


@pytest.fixture(scope="module")
def several(twins):
    """Room for two of three."""
    models = ("ark-mini", *(str(twins / name) for name in ("twin", "third")))
    with serving(
        models=models, model_memory=2 * SIZE + SIZE // 2, aliases=("whisper-1",), unload_after=None
    ) as served:
        yield served


def states(served):
    return {
        model["id"]: model["state"] for model in http.get(f"{served.url}/v1/models").json()["data"]
    }


def ask(served, recording, model):
    files = {"file": (recording.name, recording.read_bytes())}
    url = f"{served.url}/v1/audio/transcriptions"
    return http.post(url, files=files, data={"model": model})


def test_one_is_loaded_when_it_is_asked_for_and_makes_way(several, hello):
    usual = {"ark-mini": "ready", "whisper-1": "ready"}
    assert states(several) == usual | {"twin": "unloaded", "third": "unloaded"}
    text = ask(several, hello, "ark-mini").json()["text"]
    assert ask(several, hello, "twin").json()["text"] == text
    assert states(several) == usual | {"twin": "ready", "third": "unloaded"}
    assert ask(several, hello, "third").json()["text"] == text
    assert states(several) == usual | {"twin": "unloaded", "third": "ready"}


def test_one_that_is_in_use_stays(several, hello, monkeypatch):
    monkeypatch.setattr(runner, "_NO_ROOM_SECONDS", 0.1)
    silence = np.zeros(1600, "<i2").tobytes()
    with connect(f"ws://127.0.0.1:{several.port}/live?model=third") as socket:
        socket.send(silence)
        third = several.app.state.service.host.find("third")
        assert eventually(lambda: third.loaded and third.loaded.users == 1)
        answer = ask(several, hello, "twin")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_memory")
        # A long job waits for the room.
        files = {"file": (hello.name, hello.read_bytes())}
        job = http.post(f"{several.url}/jobs", files=files, data={"model": "twin"}).json()
        assert job["model"] == "twin"
        socket.send('{"type": "end"}')
        list(socket)
    assert eventually(lambda: not third.loaded or third.loaded.users == 0)
    assert ask(several, hello, "twin").status_code == 200
    url = f"{several.url}/jobs/{job['id']}"
    assert eventually(lambda: http.get(url).json()["status"] == "done")


def test_two_that_have_no_room_beside_each_other(several, hello):
    with ThreadPoolExecutor(4) as clients:
        names = ["twin", "third"] * 4
        answers = list(clients.map(lambda name: ask(several, hello, name), names))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert answers[0].status_code == 200 or answers[1].status_code == 200


def test_an_unknown_one_is_a_404_that_names_the_others(several, hello):
    for answer in (
        ask(several, hello, "gpt-4o"),
        ask(several, hello, str(resolve().path)),  # a path is no name
        http.get(f"{several.url}/v1/models/gpt-4o"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "ark-mini, twin, third, whisper-1" in answer.json()["error"]["message"]


def test_live_captions_of_another_model(several, hello):
    samples = (load_audio(hello).samples * 32767).astype("<i2").tobytes()
    texts = []
    for name in ("ark-mini", "third"):
        with connect(f"ws://127.0.0.1:{several.port}/live?model={name}") as socket:
            socket.send(samples)
            socket.send('{"type": "end"}')
            events = [json.loads(message) for message in socket]
        texts.append([event["settled"] for event in events if event["kind"] == "final"])
    assert texts[0] == texts[1] != []


def test_whatever_is_installed_and_idle_ones_go(twins, hello, monkeypatch):
    monkeypatch.setenv("ARK_ASR_HOME", str(twins.parent))
    with serving(any_model=True, unload_after=0.5) as served:
        assert states(served) == {"ark-mini": "ready", "twin": "unloaded", "third": "unloaded"}
        assert ask(served, hello, "twin").status_code == 200
        assert eventually(lambda: states(served)["twin"] == "unloaded")
        assert states(served)["ark-mini"] == "ready"
        assert ask(served, hello, "twin").status_code == 200


def test_who_leaves_while_a_model_loads_keeps_no_place(twins, hello, monkeypatch):
    """The load goes on, for those who stay and for the next one."""
    go_on, load = threading.Event(), Recognizer.load

    def waiting(*args, **options):
        go_on.wait()
        return load(*args, **options)

    monkeypatch.setattr(Recognizer, "load", waiting)
    with serving(wait=False, models=("ark-mini", str(twins / "twin"))) as served:
        files = {"file": (hello.name, hello.read_bytes())}
        try:
            for path, name in (("/asr", "ark-mini"), ("/v1/audio/transcriptions", "twin")):
                data = {} if path == "/asr" else {"model": name}
                with pytest.raises(httpx.ReadTimeout):
                    httpx.post(served.url + path, files=files, data=data, timeout=1)
                assert eventually(lambda: served.scheduler.waiting == 0)
                assert states(served)[name] == "loading"
                go_on.set()
                assert eventually(lambda name=name: states(served)[name] == "ready")
                go_on.clear()
                model = served.app.state.service.host.find(name)
                assert (model.waiting, model.loaded.users) == (0, 0)
        finally:
            go_on.set()


def test_one_that_cannot_be_loaded_is_told_and_tried_again(tmp_path, twins, hello):
    broken = tmp_path / "twin"
    shutil.copytree(twins / "twin", broken)
    graph = broken / "decoder.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(b"\0" * len(whole))
    with serving(models=("ark-mini", str(broken))) as served:
        answer = ask(served, hello, "twin")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_failed")
        assert states(served) == {"ark-mini": "ready", "twin": "failed"}
        graph.write_bytes(whole)
        assert ask(served, hello, "twin").status_code == 200


@pytest.mark.parametrize(
    ("models", "memory", "error", "message"),
    [
        (["ark-mini", "ark-mini"], 1 << 30, OptionError, "two models are called ark-mini"),
        (["ark-mini", "twin"], SIZE, OptionError, "--model-memory"),
        (["ark-mini", "nothing"], 1 << 30, ModelNotFoundError, "no model 'nothing'"),
    ],
)
def test_models_that_cannot_be_served(twins, models, memory, error, message):
    paths = tuple(str(twins / name) if name == "twin" else name for name in models)
    with pytest.raises(error, match=message):
        create_app(Settings(models=paths, model_memory=memory))

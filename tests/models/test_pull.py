"""Fetching against a real server: what goes right, and everything that goes wrong."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from ark_asr.engines import load_engine
from ark_asr.errors import DownloadError, ModelFormatError
from ark_asr.models import home, hub, pull
from ark_asr.models.receipt import RECEIPT_FILE, Receipt
from ark_asr.models.store import resolve
from audio8_folder import write_audio8
from hubserver import COMMIT, Trouble

WEIGHTS = "model.safetensors"


def unfinished():
    return home.store_folder() / home.UNFINISHED / f"tiny-{COMMIT[:12]}"


def resolves(server, name=WEIGHTS):
    return [ask for ask in server.asked if ask[0].endswith(name) and "/api/" not in ask[0]]


def test_a_model_is_fetched_whole_and_nothing_else(server, tiny, published):
    told = []
    folder = pull.pull(tiny, progress=told.append)
    assert folder == home.store_folder() / "checkpoint" / "tiny"
    names = {"config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS}
    assert {path.name for path in folder.iterdir()} == {*names, RECEIPT_FILE}
    for name in names:
        assert (folder / name).read_bytes() == published[name]
    assert not server.paths(".py")
    assert not server.paths("README")
    assert not any(said for _, _, said in server.asked)  # nobody asked for a token
    done = [at.done for at in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].total == sum(len(published[name]) for name in names)
    assert not unfinished().exists()


def test_what_was_received_is_written_down(server, tiny, published):
    receipt = Receipt.load(pull.pull(tiny))
    assert (receipt.repository, receipt.revision, receipt.licence) == (
        "New/tiny", COMMIT, "Apache-2.0",
    )  # fmt: skip
    assert {name: file.sha256 for name, file in receipt.files.items()} == {
        name: hashlib.sha256(published[name]).hexdigest() for name in receipt.files
    }
    assert {file.basis for file in receipt.files.values()} == {"hub"}


def test_the_catalogues_own_hashes_come_first(server, pinned):
    receipt = Receipt.load(pull.pull(pinned))
    assert {file.basis for file in receipt.files.values()} == {"catalogue"}


def test_files_of_several_folders_come_to_lie_together(
    server, write_catalogue, make_row, published, tmp_path
):
    for name, content in published.items():
        (tmp_path / name).write_bytes(content)
    bundle = write_audio8(tmp_path, tmp_path / "model_bundle", positions=64)
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    listed = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in paths}
    server.repositories["New/tiny"] |= {**listed, "metadata.json": b"another one, at the top"}
    server.lfs |= {"model_bundle/audio_hidden.onnx", "model_bundle/weights/token_embedding.npy"}
    row = make_row(
        layout="audio8",
        folders=["model_bundle", "model_bundle/weights"],
        files=[
            {"name": path.name, "size": None, "sha256": None, "optional": False} for path in paths
        ],
    )
    folder = pull.pull(write_catalogue(row)[0])
    for path in paths:
        assert (folder / path.name).read_bytes() == path.read_bytes()
    found = resolve("tiny")
    assert (found.kind, found.path) == ("audio8", folder)
    load_engine(found, threads=1).close()


def test_what_is_here_is_not_asked_for(server, tiny):
    folder = pull.pull(tiny)
    server.asked.clear()
    assert pull.pull(tiny) == folder
    assert not server.asked


def test_without_a_revision_old_names_are_not_trusted(server, write_catalogue, make_row):
    repositories = ["Gone/tiny", "New/tiny"]
    entry = write_catalogue(make_row(revision=None, repositories=repositories))[0]
    with pytest.raises(DownloadError, match="not on"):
        pull.pull(entry)
    assert not server.paths("New/tiny")


def test_a_renamed_owner(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(repositories=["Old/tiny"]))[0]
    pull.pull(entry)
    assert server.paths("/Old/tiny/resolve")
    assert server.paths("/New/tiny/resolve")


def test_the_next_name_if_the_first_is_gone(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(repositories=["Gone/tiny", "New/tiny"]))[0]
    assert Receipt.load(pull.pull(entry)).repository == "New/tiny"


def test_none_of_the_names_is_there(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(repositories=["Gone/tiny", "Lost/tiny"]))[0]
    with pytest.raises(DownloadError, match=r"not on .* as Gone/tiny, Lost/tiny .*refused.*HF_TOK"):
        pull.pull(entry)


def test_a_revision_that_is_gone(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(revision="f" * 40))[0]
    with pytest.raises(DownloadError, match="there is no such thing"):
        pull.pull(entry)


def test_without_a_pinned_revision_the_commit_is_recorded(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(revision=None))[0]
    server.commit = "a" * 40
    assert Receipt.load(pull.pull(entry)).revision == "a" * 40


def test_a_token_is_sent_only_when_asked_for_and_never_elsewhere(server, tiny, monkeypatch):
    server.token = "secret"
    with pytest.raises(DownloadError, match="HF_TOKEN"):
        pull.pull(tiny)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "secret")
    server.asked.clear()
    pull.pull(tiny)
    assert server.asked[0][2] is None
    said = {path.split("/")[1]: said for path, _, said in server.asked[1:]}
    assert said["New"] == "Bearer secret"
    assert said["storage"] is None


def test_a_wrong_token(server, tiny, monkeypatch):
    server.token = "secret"
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "wrong")
    with pytest.raises(DownloadError, match="access is refused") as caught:
        pull.pull(tiny)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_taken_up_again(server, tiny, published, ranges):
    server.ranges = ranges
    server.trouble[WEIGHTS] = Trouble(breaks=[1000, 500, 0])
    folder = pull.pull(tiny)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    asked = [span for path, span, _ in resolves(server) if "/storage/" in path]
    after = ["bytes=1000-", "bytes=1500-"] if ranges else ["bytes=1000-", "bytes=500-"]
    assert asked[:3] == [None, *after]


def test_a_download_goes_on_in_another_run(server, tiny, published, monkeypatch):
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    server.trouble[WEIGHTS] = Trouble(breaks=[2000])
    with pytest.raises(DownloadError, match=r"broke off.*goes on from where it stopped"):
        pull.pull(tiny)
    assert (unfinished() / f"{WEIGHTS}.part").stat().st_size == 2000
    assert not home.installed()
    server.asked.clear()
    told = []
    folder = pull.pull(tiny, progress=told.append)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    assert resolves(server)[0][1] == "bytes=2000-"
    assert not server.paths("config.json")  # was whole
    assert not list(folder.glob("*.part"))


def test_a_whole_file_of_an_earlier_run_must_prove_itself(server, tiny, monkeypatch):
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    server.trouble[WEIGHTS] = Trouble(breaks=[0])
    with pytest.raises(DownloadError):
        pull.pull(tiny)
    config = unfinished() / "config.json"
    config.write_bytes(config.read_bytes().replace(b"arkasr", b"arkasR"))
    with pytest.raises(ModelFormatError, match=r"config\.json: SHA-256 is"):
        pull.pull(tiny)


def test_a_server_that_goes_on_at_another_place(server, tiny, published):
    server.trouble[WEIGHTS] = Trouble(breaks=[2000], shifted=True)
    folder = pull.pull(tiny)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    asked = [span for path, span, _ in resolves(server) if "/storage/" in path]
    assert asked == [None, "bytes=2000-", None]


def test_a_server_that_begins_anew_and_never_gets_further(server, tiny):
    server.ranges = False
    server.trouble[WEIGHTS] = Trouble(breaks=[1000, 10] * 20)
    with pytest.raises(DownloadError, match="the connection broke off, 5 times"):
        pull.pull(tiny)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_other_bytes_are_refused_and_kept_aside(server, tiny, published, name):
    server.trouble[name] = Trouble(wrong=True)
    with pytest.raises(ModelFormatError, match=rf"{name}: SHA-256 is .*refused, kept aside"):
        pull.pull(tiny)
    assert (unfinished() / f"{name}.rejected").stat().st_size == len(published[name])
    assert not (unfinished() / name).exists()
    assert not home.installed()
    del server.trouble[name]
    folder = pull.pull(tiny)
    assert (folder / name).read_bytes() == published[name]
    assert not list(folder.glob("*.rejected"))


def test_a_hub_that_changed_its_mind_is_refused_before_fetching(server, pinned):
    server.listing[WEIGHTS] = {"lfs": {"oid": "0" * 64, "size": 1, "pointerSize": 1}}
    with pytest.raises(ModelFormatError, match=r"SHA-256 0000.* in the catalogue.*refused"):
        pull.pull(pinned)
    server.listing[WEIGHTS] = {"size": 3}
    with pytest.raises(ModelFormatError, match="has size 3 there"):
        pull.pull(pinned)
    assert not resolves(server)


def test_a_file_of_another_length_than_listed(server, tiny):
    server.trouble[WEIGHTS] = Trouble(longer=True)
    with pytest.raises(ModelFormatError, match=r"the server sends [\d,]+ bytes, expected"):
        pull.pull(tiny)
    assert not home.installed()


def test_a_file_that_is_missing_there(server, tiny):
    del server.repositories["New/tiny"]["tokenizer.json"]
    with pytest.raises(DownloadError, match=r"New/tiny: has no tokenizer\.json, which tiny needs"):
        pull.pull(tiny)


def test_an_optional_file_is_taken_if_it_is_there(server, tiny):
    server.repositories["New/tiny"]["merges.txt"] = b"#version\n"
    assert (pull.pull(tiny) / "merges.txt").read_bytes() == b"#version\n"


def test_shards_whose_names_are_not_known(server, write_catalogue, make_row):
    row = make_row()
    row["files"][3]["name"] = "model-*-of-*.safetensors"
    entry = write_catalogue(row)[0]
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    server.repositories["New/tiny"] |= {name: name.encode() for name in names}
    server.repositories["New/tiny"]["model-1-of-1.safetensors.py"] = b"import os\n"
    folder = pull.pull(entry)
    assert all((folder / name).is_file() for name in names)
    assert not list(folder.glob("*.py"))


def test_a_stalled_server(server, tiny, monkeypatch, published):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    server.trouble[WEIGHTS] = Trouble(stalls=1)
    folder = pull.pull(tiny)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]


def test_a_server_that_never_wakes_up(server, tiny, monkeypatch):
    monkeypatch.setattr(hub, "ATTEMPTS", 2)
    server.trouble["config.json"] = Trouble(status=[503, 503, 503])
    with pytest.raises(DownloadError, match="the server answers 503, 2 times; pull again later"):
        pull.pull(tiny)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.1")
    del server.trouble["config.json"]
    server.trouble[WEIGHTS] = Trouble(stalls=100)
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    with pytest.raises(DownloadError, match=r"nothing came for 0\.1 s"):
        pull.pull(tiny)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tiny, status):
    server.trouble["config.json"] = Trouble(status=[status, status])
    pull.pull(tiny)


def test_a_file_that_is_gone_though_listed(server, tiny):
    server.trouble["config.json"] = Trouble(status=[404])
    with pytest.raises(DownloadError, match=r"config\.json: there is no such thing") as caught:
        pull.pull(tiny)
    assert caught.value.status == 404


def test_nobody_there(server, tiny, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(DownloadError, match="the connection failed"):
            pull.pull(tiny)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(server, tiny):
    unfinished().mkdir(parents=True)
    (unfinished() / f"{WEIGHTS}.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"cannot be written \(No space left on device\)"):
        pull.pull(tiny)
    assert not home.installed()


def test_a_store_that_cannot_be_written(server, tiny):
    home.store_folder().parent.mkdir(exist_ok=True)
    home.store_folder().write_text("a file")
    with pytest.raises(DownloadError, match="cannot be written"):
        pull.pull(tiny)


def test_two_pulls_at_once(server, tiny, published):
    server.trouble[WEIGHTS] = Trouble(breaks=[100] * 20)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: pull.pull(tiny), range(2)))
    assert folders[0] == folders[1]
    assert (folders[0] / WEIGHTS).read_bytes() == published[WEIGHTS]
    assert len(server.paths("resolve/" + COMMIT + "/config.json")) == 1


def test_who_waits_for_another_pull_is_told(server, tiny, published):
    """The other one holds the lock until this one says that it waits."""
    home.store_folder().joinpath(home.UNFINISHED).mkdir(parents=True)
    other = FileLock(home.store_folder() / home.UNFINISHED / "tiny.lock")
    other.acquire()
    told = []

    def waiting():
        told.append("waits")
        other.release()

    folder = pull.pull(tiny, waiting=waiting)
    assert told == ["waits"]
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    assert pull.pull(tiny, waiting=waiting) == folder
    assert told == ["waits"]


def test_a_variant_on_another_disk(server, tiny, published, monkeypatch):
    """Folders cannot be renamed to another disk; they get there whole all the same."""
    rename, near = Path.rename, home.store_folder() / "checkpoint"

    def across(self, target):
        if near in Path(target).parents and near not in self.parents:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    folder = pull.pull(tiny)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    assert Receipt.load(folder).name == "tiny"
    assert not unfinished().exists()
    assert not list(near.glob(".*"))


def test_too_little_room_is_said_before_fetching(server, tiny, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match=r"0 MB free; make room, or set ARK_ASR_HOME"):
        pull.pull(tiny)
    assert not resolves(server)


def test_the_cache_of_the_hubs_own_client_is_used(server, tiny, tmp_path, published):
    snapshot = tmp_path / "hub-cache" / "models--Older--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / WEIGHTS).write_bytes(published[WEIGHTS])
    pull.pull(tiny)
    assert not resolves(server)
    assert resolves(server, "config.json")


@pytest.mark.parametrize("damage", [lambda b: b[::-1], lambda b: b[:-1], lambda b: b + b"x"])
def test_what_is_wrong_in_that_cache_is_fetched(server, tiny, tmp_path, published, damage):
    snapshot = tmp_path / "hub-cache" / "models--New--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / WEIGHTS).write_bytes(damage(published[WEIGHTS]))
    folder = pull.pull(tiny)
    assert (folder / WEIGHTS).read_bytes() == published[WEIGHTS]
    assert not list(folder.glob("*.rejected"))


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "{}",
        '[{"type": "file"}]',
        "[1]",
        "null",
        '[{"type": "file", "path": "a", "size": "many", "oid": "0"}]',
        '[{"type": "file", "path": "a", "size": Infinity, "oid": "0"}]',
    ],
)
def test_a_server_that_is_no_hub(server, tiny, text):
    server.nonsense = text.encode()
    with pytest.raises(DownloadError, match=r"is this a hub|not a list of files|has no config"):
        pull.pull(tiny)


@pytest.mark.parametrize("variable", ["ARK_ASR_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_opens_no_socket(server, tiny, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")

    def opened(*args, **kwargs):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, opened)
    with pytest.raises(DownloadError, match=r"offline: .* is not opened"):
        pull.pull(tiny)
    assert not server.asked

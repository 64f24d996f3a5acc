"""Models as archives: the same bytes every time, and nothing gets out of the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models import archive, home, pull, store
from ark_asr.models.archive import LIST_FILE, export_model, files_of, import_model


@pytest.fixture
def checkpoint(server, tiny):
    pull.pull(tiny)
    return home.lookup("tiny")[0]


@pytest.fixture
def package(tiny, built, tmp_path, monkeypatch):
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path / "home"))
    shutil.copytree(built, home.place("tiny", "int8"))
    return home.lookup("tiny:int8")[0]


@pytest.mark.parametrize("kind", ["checkpoint", "package"])
def test_there_and_back(request, kind, tmp_path):
    model = request.getfixturevalue(kind)
    before = {path.name: path.read_bytes() for path in model.path.iterdir()}
    told = []
    written = export_model(model, tmp_path / "a.tar", told.append)
    assert written.size == (tmp_path / "a.tar").stat().st_size
    assert sum(told) == sum(file.size for file in files_of(model.path).values())
    with pytest.raises(OptionError, match="in the store already; overwrite or remove it"):
        import_model(tmp_path / "a.tar")
    shutil.rmtree(home.store_folder())
    back = import_model(tmp_path / "a.tar")
    assert back == model
    assert {path.name: path.read_bytes() for path in back.path.iterdir()} == before
    assert import_model(tmp_path / "a.tar", overwrite=True) == model
    assert not list((home.store_folder() / home.UNFINISHED).glob("*-*"))


def test_the_same_bytes_every_time(package, tmp_path):
    export_model(package, tmp_path / "a.tar")
    for path in package.path.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    export_model(package, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_files_beside_a_model_stay_out(checkpoint, tmp_path):
    (checkpoint.path / "modeling_tiny.py").write_text("raise SystemExit\n")
    export_model(checkpoint, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert not [name for name in tar.getnames() if name.endswith(".py")]


def test_a_damaged_model_is_not_exported(checkpoint, tmp_path):
    weights = checkpoint.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(ModelFormatError, match=r"model\.safetensors: SHA-256 is not the recorded"):
        export_model(checkpoint, tmp_path / "a.tar")
    with pytest.raises(ModelFormatError, match=r"SHA-256 of model\.safetensors"):
        archive.verify(checkpoint.path)
    assert not list(tmp_path.glob("a.tar*"))


def test_an_archive_that_no_store_would_take_is_not_written(package, built, tmp_path):
    """The published folder has capitals in its name, and a package is called after it."""
    named = tmp_path / "ARK-ASR-0.6B"
    shutil.copytree(built, named)
    manifest = named / "ark_asr.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"ARK-ASR-0.6B"', 1))
    with pytest.raises(OptionError, match=r"called 'ARK-ASR-0\.6B'.*convert it again with --name"):
        export_model(home.Installed("ARK-ASR-0.6B", "int8", named), tmp_path / "a.tar")
    moved = package.path.rename(home.place("other", "int8"))
    with pytest.raises(OptionError, match=r"holds tiny:int8.*move the folder to int8/tiny"):
        export_model(home.Installed("other", "int8", moved), tmp_path / "a.tar")
    assert not list(tmp_path.glob("a.tar*"))


def test_an_archive_that_cannot_be_read_is_named(package, tmp_path, monkeypatch):
    export_model(package, tmp_path / "a.tar")
    opened = type(tmp_path).open

    def refuse(path, *args, **kwargs):
        if path.name == "a.tar":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.raises(OptionError, match=r"a\.tar: cannot be read \(Permission denied\)"):
        import_model(tmp_path / "a.tar")


def test_a_sparse_member_is_refused(package, tmp_path):
    """It is a regular file to tarfile, of any size that its header likes to say."""
    export_model(package, tmp_path / "a.tar")
    shutil.rmtree(home.store_folder())
    data = bytearray((tmp_path / "a.tar").read_bytes())
    with tarfile.open(tmp_path / "a.tar") as tar:
        second = tar.getmembers()[1]
    header = data[second.offset : second.offset + 512]
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[257:265] = b"ustar  \0"
    header[386:398] = b"%011o\0" % 0  # one stretch: all of it
    header[398:410] = b"%011o\0" % second.size
    header[410:482] = bytes(72)
    header[482:483] = b"\0"
    header[483:495] = b"%011o\0" % second.size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[second.offset : second.offset + 512] = header
    (tmp_path / "a.tar").write_bytes(data)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getmembers()[1].issparse()
    with pytest.raises(ModelFormatError, match="not in its list, or not as a file"):
        import_model(tmp_path / "a.tar")
    assert not home.installed()


def test_verifying_reads_everything(checkpoint, package):
    for model in (checkpoint, package):
        told = []
        archive.verify(model.path, told.append)
        recorded = files_of(model.path).values()
        mark = min(model.path.glob("ark_asr*.json")).stat().st_size
        assert sum(told) == sum(file.size for file in recorded) - mark


def test_a_folder_without_hashes(checkpoint):
    (checkpoint.path / "ark_asr_source.json").unlink()
    with pytest.raises(ModelNotFoundError, match="no hashes are known"):
        archive.verify(checkpoint.path)


def test_where_it_cannot_be_written(checkpoint, tmp_path):
    with pytest.raises(OptionError, match="cannot be written"):
        export_model(checkpoint, tmp_path / "none" / "a.tar")
    (tmp_path / "b.tar").touch()
    with pytest.raises(OptionError, match="exists already"):
        export_model(checkpoint, tmp_path / "b.tar")


# What a hostile or broken archive may be: each is built by changing a good one.


@pytest.fixture
def members(package, tmp_path):
    """Name -> content of a good archive; the store is empty again."""
    export_model(package, tmp_path / "good.tar")
    with tarfile.open(tmp_path / "good.tar") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
    shutil.rmtree(home.store_folder())
    return found


def write(path, members, *, special=()):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in special:
            tar.addfile(info)
    return path


def listing(members, **changes):
    data = json.loads(members[LIST_FILE])
    data.update(changes)
    return {**members, LIST_FILE: json.dumps(data).encode()}


def entry(content):
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def with_file(members, name, content=b"x"):
    files = json.loads(members[LIST_FILE])["files"]
    return {**listing(members, files={**files, name: entry(content)}), name: content}


def refused(path, said):
    with pytest.raises(ModelFormatError, match=said):
        import_model(path)
    assert not home.installed()
    assert not list((home.store_folder() / home.UNFINISHED).glob("*-*"))


@pytest.mark.parametrize(
    "name",
    ["../../evil.json", "/tmp/evil.json", "a/b.json", "..\\evil.json", "run.py", "a.pkl", "x.pt"],
)
def test_names_that_lead_elsewhere_or_hold_code(members, tmp_path, name):
    refused(write(tmp_path / "a.tar", with_file(members, name)), "not the name of a model file")
    unlisted = write(tmp_path / "b.tar", {**members, name: b"x"})
    refused(unlisted, "is not in its list")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_members_that_are_no_files(members, tmp_path, kind):
    link = tarfile.TarInfo("config.json")
    link.type, link.linkname = kind, "/etc/passwd"
    rest = {name: content for name, content in members.items() if name != "config.json"}
    refused(write(tmp_path / "a.tar", rest, special=[link]), "'config.json' is not in its list, or")


def test_the_same_member_twice(members, tmp_path):
    twice = tarfile.TarInfo("config.json")
    refused(write(tmp_path / "a.tar", members, special=[twice]), "is not in its list")


def test_other_bytes(members, tmp_path):
    weights = members["weights.bin"]
    other = {**members, "weights.bin": weights[:-1] + bytes([weights[-1] ^ 1])}
    refused(write(tmp_path / "a.tar", other), r"SHA-256 of weights\.bin is wrong")


def test_a_list_that_agrees_with_changed_bytes(members, tmp_path):
    """The package's own manifest still knows better."""
    weights = members["weights.bin"]
    other = with_file(members, "weights.bin", weights[:-1] + bytes([weights[-1] ^ 1]))
    refused(write(tmp_path / "a.tar", other), "its list is not|SHA-256")


def test_a_file_that_the_manifest_does_not_name(members, tmp_path):
    refused(write(tmp_path / "a.tar", with_file(members, "extra.json")), "its list is not that of")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../tiny"}, "not the name of a model"),
        ({"variant": "unfinished"}, "not the name of a model or variant"),
        ({"variant": "fp32"}, "says tiny, holds tiny:int8"),
        ({"name": "other"}, "says other, holds tiny"),
        ({"kind": "zip"}, "is not a ark-asr-archive"),
        ({"format_version": 2}, "version 1"),
        ({"files": {"config.json": 1}}, "not a complete list"),
        ({"files": {"config.json": {"size": -1, "sha256": "0" * 64}}}, "lacks a size"),
        ({"files": {"config.json": {"size": 1, "sha256": "0"}}}, "lacks a size or a SHA-256"),
        ({"files": []}, "files is"),
    ],
)
def test_a_list_that_is_none(members, tmp_path, changes, said):
    refused(write(tmp_path / "a.tar", listing(members, **changes)), said)


def test_half_an_archive(members, tmp_path):
    whole = write(tmp_path / "a.tar", members).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "b.tar", "not a whole archive|SHA-256|lacks")
    fewer = {name: content for name, content in members.items() if name != "config.json"}
    refused(write(tmp_path / "c.tar", fewer), r"lacks config\.json; it is not whole")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 10240])
def test_what_is_no_archive(server, tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    refused(tmp_path / "a.tar", "not a whole archive|does not begin with")


def test_an_archive_of_something_else(server, tmp_path):
    refused(write(tmp_path / "a.tar", {"hello.txt": b"hi"}), "does not begin with")
    refused(write(tmp_path / "b.tar", {LIST_FILE: b"{"}), "not valid JSON")
    with pytest.raises(ModelNotFoundError, match="no such file"):
        import_model(tmp_path / "none.tar")


def test_a_published_model_must_be_the_published_one(server, tiny, tmp_path, pinned):
    """An archive that is whole in itself, of a model whose hashes this program knows."""
    folder = pull.pull(pinned)
    config = folder / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    receipt = json.loads((folder / "ark_asr_source.json").read_text())
    receipt["files"]["config.json"] |= entry(config.read_bytes())
    (folder / "ark_asr_source.json").write_text(json.dumps(receipt))
    export_model(home.lookup("tiny")[0], tmp_path / "a.tar")
    home.remove("tiny")
    refused(tmp_path / "a.tar", r"config\.json is not the one that was published as tiny")


def test_an_import_that_was_killed_goes_with_its_model(package, tmp_path):
    export_model(package, tmp_path / "a.tar")
    home.remove("tiny")
    code = """if True:
        import os, pathlib, sys
        from ark_asr.models.archive import import_model
        import_model(pathlib.Path(sys.argv[1]), progress=lambda _: os._exit(9))"""
    killed = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.tar"], check=False, timeout=60
    )
    assert killed.returncode == 9
    assert [one.variant for one in home.remove("tiny")] == ["unfinished"]
    assert not list((home.store_folder() / home.UNFINISHED).glob("*-*"))


def test_the_imported_model_is_found(package, tmp_path):
    export_model(package, tmp_path / "a.tar")
    shutil.rmtree(home.store_folder())
    import_model(tmp_path / "a.tar")
    assert store.resolve("tiny").precision == "int8"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("listed", [True, False])
def test_a_header_that_would_fill_the_memory(members, tmp_path, kind, listed):
    """Of a file that takes no room on the disk: 64 GB of zeros."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 64 << 30
    names = {LIST_FILE: members[LIST_FILE]} if listed else {}
    with write(tmp_path / "a.tar", names).open("r+b") as file:
        file.seek(512 + -(-len(members[LIST_FILE]) // 512) * 512 if listed else 0)
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + header.size + 1024)
    refused(tmp_path / "a.tar", r"not a whole archive of a model \(a header of 68,719,476,736")


def test_a_list_that_can_be_read_in_two_ways(members, tmp_path):
    head = b'"files": {'
    twice = members[LIST_FILE].replace(head, head + b'"config.json": {}, ', 1)
    refused(
        write(tmp_path / "a.tar", {**members, LIST_FILE: twice}), "'config.json' is in it twice"
    )
    other = members[LIST_FILE].decode().encode("utf-16")
    refused(write(tmp_path / "b.tar", {**members, LIST_FILE: other}), "not valid JSON")

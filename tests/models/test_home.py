"""The folder of models: names, variants, aliases."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from ark_asr.errors import DownloadError, ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models import home, hub, pull, store
from hubserver import Trouble


@pytest.fixture
def both(server, tiny, built):
    """The tiny model as a checkpoint and as an int8 package."""
    folder = pull.pull(tiny)
    shutil.copytree(built, home.place("tiny", "int8"))
    return folder


@pytest.mark.parametrize("other_disk", [False, True])
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, other_disk):
    """A power cut after the renaming leaves a whole model, and one before it none."""
    made, dest, flushed = tmp_path / "made", tmp_path / "store" / "tiny", set()
    (made / "inner").mkdir(parents=True)
    for name in ("weights", "inner/more"):
        (made / name).write_text(name)
    true_rename = Path.rename

    def rename(path, target):
        if other_disk and path == made:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        inside = {one.stat().st_ino for one in path.rglob("*") if one.is_file()}
        assert len(inside) == 2
        assert inside <= flushed
        return true_rename(path, target)

    true_sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (flushed.add(os.fstat(number).st_ino), true_sync(number))
    )
    monkeypatch.setattr(Path, "rename", rename)
    home.settle(made, dest)
    assert sorted(one.read_text() for one in dest.rglob("*") if one.is_file()) == [
        "inner/more", "weights",
    ]  # fmt: skip
    assert not made.exists()


def test_the_package_is_the_best_variant(both):
    assert [one.variant for one in home.installed()] == ["int8", "checkpoint"]
    found = store.resolve("tiny")
    assert (found.name, found.kind, found.precision) == ("tiny", "package", "int8")
    assert store.resolve("tiny:checkpoint").path == both
    assert store.resolve("tiny:checkpoint").name == "tiny"


def test_an_alias_is_as_good_as_the_name(both):
    assert store.resolve("old/tiny-alias") == store.resolve("tiny")
    assert store.resolve("Old/Tiny-Alias:checkpoint").kind == "checkpoint"


def test_the_list_has_every_variant(both):
    stored = [model for model in store.list_models() if not model.embedded]
    assert [(m.name, m.kind) for m in stored] == [("tiny", "package"), ("tiny", "checkpoint")]


def test_a_variant_that_is_not_there(both):
    with pytest.raises(ModelNotFoundError, match="tiny:fp32 is not here"):
        store.resolve("tiny:fp32")


def test_a_known_model_that_is_not_here(tiny):
    with pytest.raises(ModelNotFoundError, match=r"fetch it: ark-asr models pull tiny$"):
        store.resolve("OLD/tiny-alias")


def test_an_unknown_name_tells_what_is_here(both):
    with pytest.raises(ModelNotFoundError, match=r"no model 'whisper'.*tiny"):
        store.resolve("whisper")


def test_a_layout_that_cannot_be_run(server, write_catalogue, make_row):
    entry = write_catalogue(make_row(layout="masterx", runs=False))[0]
    folder = pull.pull(entry)
    assert folder.parent.name == "masterx"
    for wanted in ("tiny", folder):
        with pytest.raises(ModelFormatError, match="layout 'masterx', which cannot be run yet"):
            store.resolve(wanted)
    assert "tiny" not in [model.name for model in store.list_models()]


def test_removing_one_variant_and_all(both):
    assert [str(one) for one in home.remove("tiny:checkpoint")] == ["tiny:checkpoint"]
    assert not both.exists()
    assert [one.variant for one in home.remove("old/TINY-alias")] == ["int8"]
    with pytest.raises(ModelNotFoundError, match="'tiny' is not in the store; nothing is"):
        home.remove("tiny")


def test_broken_downloads_are_removed_too(server, tiny, monkeypatch):
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    server.trouble["model.safetensors"] = Trouble(breaks=[10])
    with pytest.raises(DownloadError):
        pull.pull(tiny)
    other = home.store_folder() / home.UNFINISHED / "tiny-two-0123456789ab"
    other.mkdir()
    assert [one.variant for one in home.remove("tiny")] == ["unfinished"]
    assert other.is_dir()


def test_a_damaged_receipt(both):
    receipt = both / "ark_asr_source.json"
    text = receipt.read_text()
    for old, new, said in (
        ('"kind": "ark-asr-source"', '"kind": "x"', "is not a"),
        ('"config.json"', '"../config.json"', "not the entry of a model file"),
        ('"name": "tiny"', '"name": "../tiny"', "is no name"),
        ('"basis": "hub"', '"basis": "me"', "not the entry"),
        ('"size"', '"sise"', "not a complete list"),
    ):
        receipt.write_text(text.replace(old, new))
        with pytest.raises(ModelFormatError, match=said):
            store.resolve("tiny:checkpoint")
    receipt.write_text(text)
    (both / "config.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"config\.json: 2 bytes, expected"):
        store.resolve("tiny:checkpoint")
    (both / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"config\.json: no such file"):
        store.resolve("tiny:checkpoint")


@pytest.mark.parametrize(
    ("platform", "variable", "rest"),
    [("linux", "XDG_CACHE_HOME", "ark-asr"), ("win32", "LOCALAPPDATA", "ark-asr")],
)
def test_the_folder_of_the_platform(monkeypatch, tmp_path, platform, variable, rest):
    monkeypatch.delenv("ARK_ASR_HOME")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert home.store_folder() == tmp_path / rest


def test_the_folder_where_nothing_is_set(monkeypatch):
    for name in ("ARK_ASR_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for platform, parts in (
        ("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local"),
    ):  # fmt: skip
        monkeypatch.setattr(sys, "platform", platform)
        assert home.store_folder() == Path.home() / parts / "ark-asr"


def test_a_deletion_that_is_cut_short_leaves_no_half_model(both, tiny, monkeypatch):
    deleting = shutil.rmtree

    def cut_short(path):
        (path / "weights.bin").unlink(missing_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(home.shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        home.remove("tiny:int8")
    monkeypatch.setattr(home.shutil, "rmtree", deleting)
    assert [one.variant for one in home.installed()] == ["checkpoint"]
    gone = home.remove("tiny")
    assert {one.variant for one in gone} == {"checkpoint", home.UNFINISHED}
    assert not [path for path in home.store_folder().glob("*/tiny*") if path.is_dir()]


def test_what_cannot_be_deleted_is_said(both, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(home.shutil, "rmtree", refuse)
    with pytest.raises(OptionError, match=r"int8.tiny: cannot be deleted \(Permission denied\)"):
        home.remove("tiny:int8")


def test_a_link_to_a_model_goes_and_the_model_stays(both, built, tmp_path):
    shutil.rmtree(home.place("tiny", "int8"))
    home.place("tiny", "int8").symlink_to(built, target_is_directory=True)
    home.remove("tiny:int8")
    assert not home.lookup("tiny:int8")
    assert (built / "weights.bin").is_file()


def test_a_conversion_that_was_killed_goes_with_its_model(both):
    left = [home.store_folder() / "int8" / name for name in (".tiny.a1b2c3d4", ".tiny.v2.a1b2c3d4")]
    for folder in left:
        (folder / "package").mkdir(parents=True)
    home.remove("tiny")
    assert [folder.exists() for folder in left] == [False, True]


def test_a_home_folder_that_nobody_has(monkeypatch):
    with pytest.raises(OptionError, match=r"~nobody\.here/x: there is no home folder"):
        store.resolve("~nobody.here/x")
    monkeypatch.setenv("ARK_ASR_HOME", "~nobody.here")
    with pytest.raises(OptionError, match="there is no home folder"):
        home.store_folder()


@pytest.fixture
def nobody():
    """The rest of the test may read no more than anybody."""
    if sys.platform == "win32":
        pytest.skip("folders are closed in another way there")
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("there is no other user here")
    seen = [
        os.access(path, os.R_OK, effective_ids=True)
        for path in (home.__file__, tempfile.gettempdir())
    ]
    if not all(seen):
        os.seteuid(0)
        pytest.skip("another user sees neither this program nor its temporary files")
    yield
    os.seteuid(0)


@pytest.mark.parametrize("place", [".", "int8", "int8/ark-asr-0.6b"])
@pytest.mark.parametrize("wanted", ["ark-asr-0.6b", "other"])
def test_a_store_that_may_not_be_read_is_named(monkeypatch, request, place, wanted):
    # Not in tmp_path, into which nobody else may look.
    with tempfile.TemporaryDirectory() as made:
        store_folder = Path(made)
        (store_folder / "int8" / "ark-asr-0.6b").mkdir(parents=True)
        for name in (home.UNFINISHED, "lost+found", "int8/.trash"):  # those are nobody's business
            (store_folder / name).mkdir(mode=0)
        store_folder.chmod(0o755)
        monkeypatch.setenv(home.HOME_VARIABLE, str(store_folder))
        closed = store_folder / place
        closed.chmod(0)
        request.getfixturevalue("nobody")
        try:
            with pytest.raises(ModelNotFoundError, match=f"{closed} cannot be read by this user"):
                store.resolve(wanted)
            assert store.resolve("ark-mini").embedded  # which is no concern of the store
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            closed.chmod(0o755)

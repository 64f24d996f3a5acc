"""What `ark-asr models pull` makes of what it has fetched."""

from __future__ import annotations

import logging
import shutil

import pytest
from typer.testing import CliRunner

from ark_asr import cli
from ark_asr.models import home, store


def pull(*arguments):
    return CliRunner().invoke(cli.app, ["models", "pull", *arguments])


def test_int4_if_asked_for(server, tiny):
    result = pull("tiny", "--precision", "int4")
    assert result.exit_code == 0, result.stderr
    assert store.resolve("tiny").precision == "int4"
    assert "--model tiny\n" in result.stderr
    asked = len(server.asked)
    assert "is here already" in pull("tiny", "--precision", "int4").stderr
    # The other precision is made of what is here; the plain name then means the better one.
    assert pull("tiny").exit_code == 0
    assert len(server.asked) == asked
    assert [str(one) for one in home.installed()] == ["tiny:int8", "tiny:int4", "tiny:checkpoint"]
    assert store.resolve("tiny").precision == "int8"
    assert store.resolve("tiny:int4").precision == "int4"


def test_a_second_precision_is_called_by_its_own_name(server, tiny):
    assert pull("tiny").exit_code == 0
    assert "--model tiny:int4\n" in pull("tiny", "--precision", "int4").stderr


def test_a_precision_that_is_not_known_is_refused_before_anything_is_fetched(server, tiny):
    result = pull("tiny", "--precision", "int3")
    assert result.exit_code == 2
    assert "'int3' is not known; it is one of fp32, int8, int4" in result.stderr
    assert not server.asked


def test_a_precision_of_a_package_that_is_not_made_is_refused(server, tiny):
    result = pull("tiny", "--no-convert", "--precision", "int8")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "--precision is of a package, and --no-convert makes none" in result.stderr
    assert not server.asked


@pytest.fixture
def official(server, published, write_catalogue, make_row, tmp_path):
    """The publisher's int8 package, on the hub and in the catalogue."""
    torch_export = pytest.importorskip("torch_export")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(published[name])
    logging.disable(logging.WARNING)
    torch_export.export_package(tmp_path, tmp_path / "float")
    torch_export.quantize_package(tmp_path / "float", tmp_path / "package")
    logging.disable(logging.NOTSET)
    content = {path.name: path.read_bytes() for path in (tmp_path / "package").iterdir()}
    server.repositories["New/tiny"] = content
    files = [{"name": n, "size": None, "sha256": None, "optional": False} for n in content]
    return write_catalogue(make_row(layout="official-int8", files=files))


def test_the_publishers_package_is_converted_too(server, official):
    result = pull("tiny")
    assert result.exit_code == 0, result.stderr
    assert "remove tiny:official-int8` frees" in result.stderr
    found = store.resolve("tiny")
    assert (found.kind, found.precision) == ("package", "int8")
    assert found.path == home.place("tiny", "int8")


def test_as_published_if_asked_for(server, official):
    assert pull("tiny", "--no-convert").exit_code == 0
    assert store.resolve("tiny").kind == "llm-kv"


def test_a_damaged_package_is_not_here_already(server, tiny):
    assert pull("tiny").exit_code == 0
    (home.place("tiny", "int8") / "weights.bin").write_bytes(b"")
    result = pull("tiny")
    assert result.exit_code == 2
    assert "first: ark-asr models remove tiny:int8, then pull again" in result.stderr
    home.remove("tiny:int8")
    assert pull("tiny").exit_code == 0
    assert store.resolve("tiny").precision == "int8"


def test_another_pull_that_was_faster_is_no_trouble(server, tiny, built, monkeypatch):
    from ark_asr.graphs import convert

    hashing = convert._hash_weights

    def faster(weights):
        if not home.place("tiny", "int8").exists():
            shutil.copytree(built, home.place("tiny", "int8"))
        return hashing(weights)

    monkeypatch.setattr(convert, "_hash_weights", faster)
    result = pull("tiny")
    assert result.exit_code == 0, result.stderr
    assert store.resolve("tiny").precision == "int8"
    assert not list(home.store_folder().glob("int8/.*"))

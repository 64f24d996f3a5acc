"""What the command line says goes before the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from ark_asr.errors import OptionError
from ark_asr.training.config import TrainConfig
from ark_asr.training.overrides import Overrides


def test_a_recipe_takes_its_paths_from_the_command_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = Overrides(
        Path("model"), Path("out"), ("a.jsonl", "s3://b/c.jsonl"), ("dev.jsonl",),
        ("optim.steps=7", "adapt.freeze=['encoder']", "device=cpu"),
    )  # fmt: skip
    config = TrainConfig.load(root / "recipes" / "adapt" / "lora.toml", overrides)
    assert config.path(config.start) == tmp_path / "model"
    assert config.path(config.output) == tmp_path / "out"
    places = [config.place(source.manifest) for source in config.data.train]
    assert places == [str(tmp_path / "a.jsonl"), "s3://b/c.jsonl"]
    assert config.place(config.data.dev[0]) == str(tmp_path / "dev.jsonl")
    assert (config.optim.steps, config.device) == (7, "cpu")
    assert config.adapt.freeze == ("encoder",)
    assert config.adapt.rank == 16  # the recipe's own


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("optim.steps", "must be like"),
        ("optim.stops=1", "unknown stops"),
        ("start.x=1", "start is no table"),
        ("optim.steps=many", "expected int"),
    ],
)
def test_a_setting_that_is_none_is_refused(root, setting, says):
    overrides = Overrides(Path("m"), Path("o"), ("a.jsonl",), ("d.jsonl",), (setting,))
    with pytest.raises(OptionError, match=says):
        TrainConfig.load(root / "recipes" / "adapt" / "lora.toml", overrides)


def test_a_home_folder_that_nobody_has(root):
    for overrides in (Overrides(output=Path("~nobody.here/o")), Overrides(dev=("~nobody.here/d",))):
        with pytest.raises(OptionError, match=r"~nobody\.here/.: there is no home folder"):
            overrides.apply({})
    recipe = TrainConfig(start="~nobody.here/s", output="o")
    with pytest.raises(OptionError, match="there is no home folder"):
        recipe.path(recipe.start)


def test_every_recipe_makes_sense(root):
    for path in sorted((root / "recipes").rglob("*.toml")):
        if "[teacher]" not in path.read_text():
            TrainConfig.load(path, Overrides(Path("m"), Path("o"), ("a.jsonl",), ("d.jsonl",)))

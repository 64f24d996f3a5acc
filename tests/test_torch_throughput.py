"""`benchmarks/torch_throughput.py`, made for a GPU, runs where there is none."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from ark_asr.errors import OptionError
from checkpoints import write_checkpoint


@pytest.fixture
def main(root, tmp_path, monkeypatch):
    """The script, on a small checkpoint."""
    small = {"hidden": 48, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 64, "encoder_layers": 1}
    write_checkpoint(tmp_path / "small", scale=2.0, **small)
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    script = importlib.import_module("torch_throughput")

    def run(*options):
        given = [str(tmp_path / "small"), "--threads", "1", "--repeats", "1", *options]
        monkeypatch.setattr(sys, "argv", ["torch_throughput.py", *given])
        script.main()

    yield run
    for name in ("torch_throughput", "mini"):
        sys.modules.pop(name, None)


def test_every_batch_has_its_figure(main, capsys):
    main("--devices", "cpu", "--batches", "1", "3", "--ways", "torch:DEVICE", "torch")
    lines = capsys.readouterr().out.splitlines()
    for way in ("torch:cpu ", "torch "):
        (row,) = [line for line in lines if line.startswith(way)]
        assert [float(figure) > 0 for figure in row.split()[1:]] == [True, True]
    assert lines[-1].startswith("log-mel on the host")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("way", ["torch:DEVICE", "torch-compile:DEVICE"])
def test_without_a_gpu_it_says_so(main, way):
    with pytest.raises(OptionError, match="device 'cuda': PyTorch has none here"):
        main("--devices", "cuda", "--ways", way)

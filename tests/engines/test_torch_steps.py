"""The compiled step writes what the step as it is writes, in whatever shape it is compiled for."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch

import ark_asr
from ark_asr.engines.base import Ask
from ark_asr.engines.torch_steps import CompiledSteps, Steps
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.errors import OptionError
from ark_asr.types import Audio
from checkpoints import write_checkpoint

RATE = 16_000
# Of PyTorch's own compiler, on its way.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    small = {"hidden": 48, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 64, "encoder_layers": 1}
    write_checkpoint(folder, scale=2.0, **small)
    return folder


@pytest.fixture
def compiler(tmp_path_factory, monkeypatch):
    """That of the system, without processes and leftovers."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    if shutil.which("g++") is None and "CXX" not in os.environ:
        pytest.skip("there is no C++ compiler here, which PyTorch compiles for a CPU with")
    # What takes time and proves nothing: vectors and trying which of them there are, and a file for
    # each kernel, for all of them read the same long headers.
    quick = {"compile_threads": 1, "cpp.vec_isa_ok": False, "cpp_wrapper": True}
    with torch._inductor.config.patch({**quick, "cpp_cache_precompile_headers": False}):
        yield


def written(writer, seconds, tokens=12):
    rng = np.random.default_rng(round(10 * sum(seconds)))
    clips = [rng.normal(0, 0.1, round(s * RATE)).astype(np.float32) for s in seconds]
    asked = [Ask(Audio(clip, RATE), tokens) for clip in clips]
    return writer.write(asked, [lambda: False] * len(asked))


@pytest.mark.slow
def test_same_tokens_in_rounded_shapes(folder, compiler):
    """Neither spare rows nor what an earlier batch has left change anything; it compiles once."""
    plain = TorchWriter.load(folder, "cpu", threads=1)
    compiled = TorchWriter.load(folder, "cpu", threads=1, compiled=True)
    for number, seconds in enumerate([(2.0, 0.6, 3.1), (0.7, 4.0), (1.0, 0.8, 2.5, 3.7)]):
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            found, expected = written(compiled, seconds), written(plain, seconds)
        assert len({one.token_ids for one in expected}) == len(seconds)
        for one, other in zip(found, expected, strict=True):
            assert one.token_ids == other.token_ids
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        ((shape, cache),) = compiled._steps._caches.items()
        assert shape == (4, 256)
        with torch.inference_mode():
            for tensor in (*cache.keys, *cache.values):
                tensor.fill_(torch.nan)


def test_shapes_are_rounded_up(folder):
    model = TorchWriter.load(folder, "cpu").model
    compiled, plain = CompiledSteps.__new__(CompiledSteps), Steps(model, [1, 2])
    compiled.__dict__.update(plain.__dict__, _caches={})
    for rows, length, shape in ((1, 10, (1, 256)), (2, 257, (4, 512)), (17, 513, (64, 1024))):
        assert plain.cache(rows, length).keys[0].shape[::2] == (rows, length)
        cache = compiled.cache(rows, length)
        assert cache.keys[0].shape[::2] == shape
        assert compiled.cache(rows, length) is cache


def test_without_a_compiler_it_is_one_line(folder, compiler):
    torch.compiler.reset()
    nowhere = torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")})
    with nowhere, pytest.raises(OptionError, match=r"for device 'cpu' here \(\w.*C\+\+") as found:
        ark_asr.load(folder, engine="torch-compile:cpu")
    assert str(found.value).endswith("`torch:cpu` does without")
    assert "\n" not in str(found.value)

"""The parts of the plug-in that need no running engine."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

import vllm

from ark_asr.decoding.text import clean
from ark_asr.errors import MissingExtraError
from ark_asr.integrations.vllm import ARCHITECTURE, register
from ark_asr.integrations.vllm.speech import CleanDeltas, Transcribes


def test_entry_point_is_installed():
    from importlib.metadata import entry_points

    assert entry_points(group="vllm.general_plugins")["ark-asr"].load() is register


def test_registering_twice_is_harmless():
    register()
    register()
    assert ARCHITECTURE in vllm.ModelRegistry.get_supported_archs()


def test_another_release_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(vllm, "__version_tuple__", (0, 99, 0))
    monkeypatch.setattr(vllm, "__version__", "0.99.0")
    monkeypatch.delitem(sys.modules, "ark_asr.integrations.vllm.interfaces")
    with pytest.raises(MissingExtraError, match=r"0\.32; 0\.99\.0 is here"):
        import ark_asr.integrations.vllm.interfaces  # noqa: F401


def test_other_models_do_not_fail_with_another_transformers(monkeypatch, caplog):
    import transformers

    monkeypatch.setattr(transformers, "__version__", "5.0.0")
    monkeypatch.delitem(sys.modules, "ark_asr.modeling.transformers")
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    register()
    assert "5.0.0 is here" in caplog.text


def test_languages_are_those_of_the_catalogue():
    assert {"en", "zh", "de"} <= set(Transcribes.supported_languages)


@given(st.lists(st.text(alphabet="ab .-5<|>", max_size=4), max_size=12))
def test_deltas_never_take_back(parts):
    """What was sent is a beginning of the clean text whenever that only grows."""
    deltas, sent = CleanDeltas(), ""
    grown = True
    for number in range(len(parts)):
        before, now = (clean("".join(parts[:n])) for n in (number, number + 1))
        grown = grown and now.startswith(before)
        sent += deltas.process_delta(parts[number], finished=False)
        if grown:
            assert sent == now

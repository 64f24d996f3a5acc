"""The decoder graph of our packages, called on arrays that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ark_asr.engines.graph import ANY, Graph, running
from ark_asr.models.config import DecoderConfig
from ark_asr.models.package import DECODER_FILE
from ark_asr.types import FloatArray


class BoundDecoder:
    """Hands the runtime pointers instead of copies; the contract is that of `DecoderGraph`.

    Args:
        graph: The open graph.
        config: The decoder's numbers.
        columns: Of its logits.

    Attributes:
        one_position: Whether it gives the logits of one position of a row only, as the graphs of
            packages did that were made before drafts.

    Raises:
        ModelFormatError: The graph is not that of these numbers.
    """

    def __init__(self, graph: Graph, config: DecoderConfig, columns: int) -> None:
        kept = [f"{kind}_{i}" for i in range(config.layers) for kind in ("key", "value")]
        graph.only_inputs(
            ["embeds", "lengths_less_one", "total", "last", *(f"past_{name}" for name in kept)]
        )
        graph.input("embeds", ANY, ANY, config.hidden_size)
        for name in kept:
            graph.input(f"past_{name}", ANY, config.kv_heads, ANY, config.head_dim)
            graph.output(f"present_{name}", ANY, config.kv_heads, ANY, config.head_dim)
        self.one_position = graph.rank("last") == 1
        axes = (ANY,) if self.one_position else (ANY, ANY)
        graph.input("last", *axes, kind="int64")
        graph.output("logits", *axes, columns)
        self._cache_names = kept
        self._outputs = set(graph.outputs)
        self._session = graph.session

    def shows(self, layers: Sequence[int]) -> bool:
        """Whether ``qkv_i`` of these layers can be asked for."""
        return self._outputs.issuperset(f"qkv_{layer}" for layer in layers)

    def bind(
        self,
        inputs: Mapping[str, NDArray[Any]],
        cache: Sequence[FloatArray],
        logits: FloatArray,
        shown: Mapping[int, FloatArray] | None = None,
    ) -> ort.IOBinding:
        """What `run` takes. All arrays must outlive it.

        Args:
            inputs: ``embeds``, ``lengths_less_one``, ``total``, and ``last`` ``[rows, wanted]``.
            cache: Keys and values of each layer in turn, of the same rows.
            logits: Float32 ``[rows, wanted, columns]``, to be filled.
            shown: Arrays to be filled with ``qkv_i``, by layer.
        """
        if self.one_position:
            inputs, logits = {**inputs, "last": inputs["last"][:, 0]}, logits[:, 0]
        binding = self._session.io_binding()
        for name, array in inputs.items():
            _bind_array(binding.bind_input, name, array)
        for name, buffer in zip(self._cache_names, cache, strict=True):
            _bind_array(binding.bind_input, f"past_{name}", buffer)
            _bind_array(binding.bind_output, f"present_{name}", buffer)
        _bind_array(binding.bind_output, "logits", logits)
        for layer, qkv in (shown or {}).items():
            _bind_array(binding.bind_output, f"qkv_{layer}", qkv)
        return binding

    def run(self, binding: ort.IOBinding) -> None:
        """Compute.

        Raises:
            ModelFormatError: The graph cannot take what its contract says it takes.
        """
        with running(DECODER_FILE):
            self._session.run_with_iobinding(binding)

    def end_profiling(self) -> str:
        """The file with what each node took, where profiling was asked for."""
        return str(self._session.end_profiling())


def _bind_array(to: Callable[..., None], name: str, array: NDArray[Any]) -> None:
    to(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

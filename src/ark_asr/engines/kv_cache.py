"""Keys and values of one row, kept by the host the way a decoder graph of layout "llm-kv" wants it.

Two kinds are published. One is given a cache of fixed length at every call and gives back what is
new, which the host writes to its place. The other is given what has been so far and gives back that
with the new joined on. Which axis counts the positions differs between packages and is read from
the graph: a mistake there would not fail, it would scramble the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ark_asr.engines.graph import ANY, Graph
from ark_asr.errors import ModelFormatError
from ark_asr.models.config import DecoderConfig
from ark_asr.types import FloatArray

_EMBEDS, _PLACES, _MASK, _LOGITS = "inputs_embeds", "cache_position", "attention_mask", "logits"

# By the names of the graph's inputs.
Cache: TypeAlias = dict[str, Any]


class StaticCaches:
    """Caches of fixed length: ``cache_key_i`` in, ``key_delta_i`` out.

    The runtime reads the host's arrays where they are, and gives back only the new positions.

    Args:
        graph: The decoder.
        text: Its numbers.
        positions: Length of the cache, if something but the graph says it too.

    Raises:
        ModelFormatError: The graph is not of this kind, or not of these numbers.

    Attributes:
        positions: Length of the cache.
    """

    def __init__(self, graph: Graph, text: DecoderConfig, positions: int | None) -> None:
        self._graph, self._text = graph, text
        self._inputs = _names("cache_{}_{}", text.layers)
        self._outputs = _names("{}_delta_{}", text.layers)
        self._masked = _MASK in graph.inputs
        graph.only_inputs([_EMBEDS, *[_MASK] * self._masked, _PLACES, *self._inputs])
        _check_embeds(graph, text)
        self._axis, shape = _positions_axis(graph, self._inputs[0], text)
        self.positions = shape[self._axis]
        if self.positions == ANY or positions not in (None, self.positions):
            raise ModelFormatError(
                f"{graph.path}: input {self._inputs[0]} holds {_count(self.positions)} positions, "
                f"expected {positions or 'a fixed number'}"
            )
        self._shape = (1, *shape[1:])
        new = [*self._shape]
        new[self._axis] = ANY
        for given, made in zip(self._inputs, self._outputs, strict=True):
            graph.input(given, *self._shape)
            graph.output(made, *new)
        if self._masked:
            graph.input(_MASK, 1, self.positions, kind="int64")

    def new(self) -> Cache:
        """An empty cache of one row."""
        return {name: np.zeros(self._shape, np.float32) for name in self._inputs}

    def copied(self, cache: Cache) -> Cache:
        """The same, to be written on independently."""
        return {name: array.copy() for name, array in cache.items()}

    def run(self, cache: Cache, position: int, embeds: FloatArray) -> FloatArray:
        """Feed embeddings ``[1, new, hidden]`` from a position on; return logits ``[V]``."""
        total = position + embeds.shape[1]
        feeds = {**cache, _EMBEDS: embeds, _PLACES: np.arange(position, total)}
        if self._masked:
            feeds[_MASK] = (np.arange(self.positions) < total).astype(np.int64)[None]
        logits, *deltas = self._graph.run([_LOGITS, *self._outputs], feeds)
        new = (slice(None),) * self._axis + (slice(position, total),)
        for name, delta in zip(self._inputs, deltas, strict=True):
            place = cache[name][new]
            if delta.shape != place.shape:
                raise _wrong_shape(self._graph, name, delta.shape, place.shape)
            place[...] = delta
        return _last(self._graph, logits, self._text)


class GrowingCaches:
    """Caches that grow with each call: ``past_key_i`` in, ``present_key_i`` out.

    What comes out goes in again as the runtime's own array.

    Args:
        graph: The decoder.
        text: Its numbers.
        positions: Most positions that a row may have; ``None`` for as many as ``text`` says.

    Raises:
        ModelFormatError: The graph is not of this kind, or not of these numbers.

    Attributes:
        positions: Most positions of a row.
    """

    def __init__(self, graph: Graph, text: DecoderConfig, positions: int | None) -> None:
        self._graph, self._text = graph, text
        self.positions = positions or text.max_positions
        self._inputs = _names("past_{}_{}", text.layers)
        self._outputs = _names("present_{}_{}", text.layers)
        graph.only_inputs([_EMBEDS, _PLACES, *self._inputs])
        _check_embeds(graph, text)
        self._axis, shape = _positions_axis(graph, self._inputs[0], text)
        if shape[self._axis] != ANY:
            raise ModelFormatError(
                f"{graph.path}: input {self._inputs[0]} holds {shape[self._axis]} positions, "
                "expected any number"
            )
        for names, check in ((self._inputs, graph.input), (self._outputs, graph.output)):
            for name in names:
                check(name, 1, *shape[1:])
        self._empty = np.empty([1, *(0 if size == ANY else size for size in shape[1:])], np.float32)

    def new(self) -> Cache:
        """An empty cache of one row."""
        return {name: ort.OrtValue.ortvalue_from_numpy(self._empty) for name in self._inputs}

    def copied(self, cache: Cache) -> Cache:
        """The same, to be written on independently: its arrays are never written again."""
        return dict(cache)

    def run(self, cache: Cache, position: int, embeds: FloatArray) -> FloatArray:
        """Feed embeddings ``[1, new, hidden]`` from a position on; return logits ``[V]``."""
        total = position + embeds.shape[1]
        inputs = {_EMBEDS: embeds, _PLACES: np.arange(position, total)}
        feeds = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        logits, *present = self._graph.run_values([_LOGITS, *self._outputs], {**cache, **feeds})
        shape = [*self._empty.shape]
        shape[self._axis] = total
        for name, value in zip(self._inputs, present, strict=True):
            if value.shape() != shape:
                raise _wrong_shape(self._graph, name, value.shape(), shape)
            cache[name] = value
        return _last(self._graph, logits.numpy(), self._text)


def _names(pattern: str, layers: int) -> list[str]:
    return [pattern.format(kind, i) for i in range(layers) for kind in ("key", "value")]


def _check_embeds(graph: Graph, text: DecoderConfig) -> None:
    graph.input(_EMBEDS, 1, ANY, text.hidden_size)
    graph.input(_PLACES, ANY, kind="int64")


def _positions_axis(graph: Graph, name: str, text: DecoderConfig) -> tuple[int, list[int]]:
    """The axis of a cache that counts positions, and its shape ``[1, ., ., head_dim]``."""
    shape = graph.input(name, 1, ANY, ANY, text.head_dim)
    axes = [axis for axis, other in ((1, 2), (2, 1)) if shape[other] == text.kv_heads]
    if len(axes) != 1:
        raise ModelFormatError(
            f"{graph.path}: input {name} is [1, {_count(shape[1])}, {_count(shape[2])}, "
            f"{text.head_dim}]; which axis counts positions cannot be told, expected the "
            f"{text.kv_heads} heads of config.json on the other"
        )
    return axes[0], shape


def _count(size: int) -> str:
    return "any" if size == ANY else str(size)


def _wrong_shape(
    graph: Graph, name: str, found: Sequence[int], expected: Sequence[int]
) -> ModelFormatError:
    return ModelFormatError(
        f"{graph.path}: gave {list(found)} for {name}, expected {list(expected)}"
    )


def _last(graph: Graph, logits: NDArray[Any], text: DecoderConfig) -> FloatArray:
    """Logits of the last position, whether the graph gives one or all."""
    if logits.dtype != np.float32 or logits.shape[-1] != text.vocab_size:
        raise ModelFormatError(
            f"{graph.path}: logits are {logits.dtype} {list(logits.shape)}, expected float32 for "
            f"{text.vocab_size} ids"
        )
    last: FloatArray = logits.reshape(-1, text.vocab_size)[-1]
    return last

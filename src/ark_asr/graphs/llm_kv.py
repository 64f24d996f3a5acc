"""The weights of the publisher's ONNX package, found by walking its graphs.

The graphs name weights as the exporter did, so a weight is told by its place: queries, keys and
values by the side of the attention they come in at, gate and up projection by the sigmoid, all
others by their order, which the flow of data leaves no choice about. What is found must be exactly
the tensors, with their shapes, of the checkpoint that ``config.json`` describes; else the package
is refused. Weights that are int8 are handed on as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ark_asr.errors import ArkError, ModelFormatError
from ark_asr.graphs.onnx_graph import Layer, OnnxGraph
from ark_asr.graphs.quantize import Int8Matrix, Matrix, floats
from ark_asr.models.config import ModelConfig
from ark_asr.models.llm_kv import LlmKvFolder
from ark_asr.models.weights import EMBEDDING, HEAD, POSITIONS, tensor_shapes
from ark_asr.types import FloatArray

_TOWER = "audio_encoder.whisper"
_ATTENTION = ("q_proj", "k_proj", "v_proj")
_SIGMOIDS = ("Sigmoid", "QuickGelu", "Swish")
_PRODUCTS = ("MatMul", "MatMulInteger")


class LlmKvWeights:
    """The tensors of one package, by the names they have in the checkpoint.

    Attributes:
        files: The graphs and what lies beside them.
        int8: Some are int8.
    """

    def __init__(self, tensors: dict[str, Matrix], files: list[Path]) -> None:
        self._tensors = tensors
        self.files = files
        self.int8 = any(isinstance(tensor, Int8Matrix) for tensor in tensors.values())

    @classmethod
    def open(cls, found: LlmKvFolder, config: ModelConfig) -> LlmKvWeights:
        """Find the weights of a package.

        Raises:
            ModelNotFoundError: A file is missing.
            ModelFormatError: A graph is not built as expected, or does not fit ``config.json``.
        """
        folder = found.decoder.parent
        if not config.use_rope:
            raise ModelFormatError(f"{folder}: learned positions cannot be converted")
        table = found.map_embedding(config)
        tensors: dict[str, Matrix] = {EMBEDDING: table}
        for path, read in (
            (found.encoder, _encoder), (found.adapter, _adapter), (found.decoder, _decoder)
        ):  # fmt: skip
            tensors |= _walk(OnnxGraph(path), config, read)
        _check(tensors, config, folder)
        files = {found.encoder, found.adapter, found.decoder, found.embedding}
        if isinstance(table, np.memmap):
            files.add(Path(str(table.filename)))
        return cls(tensors, sorted(files))

    def __getitem__(self, name: str) -> FloatArray:
        """One tensor in float32.

        Raises:
            ModelFormatError: It holds infinities or NaN.
        """
        values = floats(self._tensors[name]).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise ModelFormatError(
                f"{self.files[0].parent}: {name} holds values that are not finite"
            )
        return values

    def matrix(self, name: str) -> Matrix:
        """A weight ``[out, in]`` as it is stored: float32, or int8 with its scales."""
        stored = self._tensors[name]
        return self[name] if isinstance(stored, np.ndarray) else stored


def _walk(
    graph: OnnxGraph,
    config: ModelConfig,
    read: Callable[[OnnxGraph, ModelConfig], dict[str, Matrix]],
) -> dict[str, Matrix]:
    try:
        return read(graph, config)
    except ArkError:
        raise
    except (IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        # Nodes without their inputs, tensors without their values, circles.
        raise graph.fail(f"is damaged ({error})") from None


def _encoder(graph: OnnxGraph, config: ModelConfig) -> dict[str, Matrix]:
    size, ffn = config.encoder.hidden_size, config.encoder.ffn_size
    found: dict[str, Matrix] = dict(_convolutions(graph))
    walk = _Blocks(graph, {(size, size), (ffn, size), (size, ffn)}, config.encoder.layers, 3)
    for i, (attention, (out, fc1, fc2)) in enumerate(walk):
        layer = f"{_TOWER}.layers.{i}"
        found |= _norm(graph, f"{layer}.self_attn_layer_norm", attention[0].x)
        found |= _norm(graph, f"{layer}.final_layer_norm", fc1.x)
        for name, one in zip((*_ATTENTION, "out_proj"), (*attention, out), strict=True):
            found |= _linear(f"{layer}.self_attn.{name}", one)
        found |= _linear(f"{layer}.fc1", fc1) | _linear(f"{layer}.fc2", fc2)
    return found | _norm(graph, "audio_encoder.layer_norm", graph.outputs[0])


def _adapter(graph: OnnxGraph, config: ModelConfig) -> dict[str, Matrix]:
    layers = list(graph.layers())
    sizes = [layer.weight.shape[0] for layer in layers]
    if sizes != [config.adapter_size, config.decoder.hidden_size]:
        raise graph.fail(f"has linear layers of {sizes} outputs, expected an adapter's two")
    return _linear("audio_encoder.adapting.0", layers[0]) | _linear(
        "audio_encoder.adapting.2", layers[1]
    )


def _decoder(graph: OnnxGraph, config: ModelConfig) -> dict[str, Matrix]:
    text = config.decoder
    hidden, ffn, queries = text.hidden_size, text.ffn_size, text.heads * text.head_dim
    shapes = {(queries, hidden), (text.kv_heads * text.head_dim, hidden), (hidden, queries),
              (ffn, hidden), (hidden, ffn), (text.vocab_size, hidden)}  # fmt: skip
    walk = _Blocks(graph, shapes, text.layers, 4, behind=1)
    found: dict[str, Matrix] = {}
    for i, (attention, (out, *wide, down)) in enumerate(walk):
        layer = f"model.layers.{i}"
        gate, up = _gate_first(graph, wide)
        found |= _norm(graph, f"{layer}.input_layernorm", attention[0].x)
        found |= _norm(graph, f"{layer}.post_attention_layernorm", gate.x)
        for name, one in zip((*_ATTENTION, "o_proj"), (*attention, out), strict=True):
            found |= _linear(f"{layer}.self_attn.{name}", one)
        for name, one in (("gate", gate), ("up", up), ("down", down)):
            found |= _linear(f"{layer}.mlp.{name}_proj", one)
    (head,) = walk.behind
    return found | _norm(graph, "model.norm", head.x) | {HEAD: head.weight}


class _Blocks:
    """The linear layers of equal blocks: those that go into the attention, and those behind it.

    Args:
        graph: Where they are.
        shapes: Of their weights ``(out, in)``; other products (of rotary positions) are none.
        count: Blocks.
        others: Layers of a block behind its attention.
        behind: Layers behind all blocks.
    """

    def __init__(
        self, graph: OnnxGraph, shapes: set[tuple[int, int]], count: int, others: int,
        behind: int = 0,
    ) -> None:  # fmt: skip
        layers = [layer for layer in graph.layers() if layer.weight.shape in shapes]
        expected = count * (len(_ATTENTION) + others) + behind
        if len(layers) != expected:
            raise graph.fail(
                f"has {len(layers)} linear layers of the sizes in config.json, expected {expected}"
            )
        self._attentions = list(_attentions(graph, layers))
        taken = {layer for attention in self._attentions for layer in attention}
        rest = [layer for layer in layers if layer not in taken]
        if len(self._attentions) != count or len(rest) != count * others + behind:
            raise graph.fail(f"has {len(self._attentions)} attentions, expected {count}")
        self._others = [rest[i * others : (i + 1) * others] for i in range(count)]
        self.behind = rest[count * others :]

    def __iter__(self) -> Iterator[tuple[tuple[Layer, ...], list[Layer]]]:
        return zip(self._attentions, self._others, strict=True)


def _attentions(graph: OnnxGraph, layers: Sequence[Layer]) -> Iterator[tuple[Layer, ...]]:
    """Query, key and value projection of every attention, in order."""
    outputs = {layer.y: layer for layer in layers}

    def is_product(name: str) -> bool:
        node = graph.maker(name)
        return (
            node is not None
            and node.op_type in _PRODUCTS
            and all(graph.constant(part) is None for part in node.input[:2])
        )

    def projection(name: str) -> Layer:
        found = list(graph.back(name, outputs.__contains__))
        if len(found) != 1:
            raise graph.fail(f"an attention takes {len(found)} projections at {name!r}, expected 1")
        return outputs[found[0]]

    for node in graph.nodes:
        if node.op_type != "Softmax":
            continue
        scores = list(graph.back(node.input[0], is_product))
        heads = list(graph.ahead(node.output[0], is_product))
        if len(scores) != 1 or len(heads) != 1:
            raise graph.fail(f"the softmax {node.name!r} is not between two products")
        (query, key), value = _operands(graph, scores[0]), _operands(graph, heads[0])[1]
        yield tuple(projection(name) for name in (query, key, value))


def _operands(graph: OnnxGraph, name: str) -> tuple[str, str]:
    node = graph.maker(name)
    return (node.input[0], node.input[1]) if node is not None else ("", "")


def _gate_first(graph: OnnxGraph, pair: Sequence[Layer]) -> tuple[Layer, Layer]:
    gates = [layer for layer in pair if any(u.op_type in _SIGMOIDS for u in graph.users(layer.y))]
    if len(gates) != 1:
        raise graph.fail(f"{len(gates)} of two projections go into a sigmoid, expected 1")
    up = next(layer for layer in pair if layer is not gates[0])
    return gates[0], up


def _convolutions(graph: OnnxGraph) -> Iterator[tuple[str, FloatArray]]:
    nodes = [node for node in graph.nodes if node.op_type.startswith("Conv")]
    kinds = [node.op_type for node in nodes]
    if kinds != ["Conv", "Conv"]:
        raise graph.fail(f"has the convolutions {kinds}, expected two in float32")
    for name, node in zip(("conv1", "conv2"), nodes, strict=True):
        for part, value in zip(("weight", "bias"), node.input[1:], strict=False):
            constant = graph.constant(value)
            if constant is None:
                raise graph.fail(f"the {part} of {node.name!r} is not stored")
            yield f"{_TOWER}.{name}.{part}", constant


def _linear(name: str, layer: Layer) -> dict[str, Matrix]:
    found: dict[str, Matrix] = {f"{name}.weight": layer.weight}
    if layer.bias is not None:
        found[f"{name}.bias"] = layer.bias
    return found


def _norm(graph: OnnxGraph, name: str, x: str) -> dict[str, Matrix]:
    parts = graph.norm_before(x)
    return {f"{name}.{kind}": part for kind, part in zip(("weight", "bias"), parts, strict=False)}


def _check(tensors: dict[str, Matrix], config: ModelConfig, folder: Path) -> None:
    expected = tensor_shapes(config)
    del expected[POSITIONS]
    problems = [f"no {name}" for name in expected if name not in tensors]
    problems += [f"an unexpected {name}" for name in tensors if name not in expected]
    problems += [
        f"{name} {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if problems[3:] else ""
        raise ModelFormatError(
            f"{folder}: does not fit config.json: {', '.join(problems[:3])}{more}"
        )

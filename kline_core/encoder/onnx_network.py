"""The network on ONNX Runtime, which takes about 0.6 of the time that torch takes on a processor.

Its products add up in another order, so that vectors differ from torch's in their last bits: a device of its own,
`onnx`, which is asked for by name and never chosen by itself. Needs the extra `onnx`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from kline_core.encoder.network import AttentionEncoder
from kline_core.typing import Floats32, Pixels
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR

_OPERATORS, _FORMAT = 18, 9
"""Versions of ONNX's operators and of its file format. Named, since the package `onnx` writes newer ones than ONNX
Runtime reads."""


class OnnxNetwork:
    """A network without batch normalisation, for batches of one shape; safe to share between threads."""

    def __init__(self, network: AttentionEncoder, batch: int) -> None:
        options = onnxruntime.SessionOptions()
        # In the calling thread, as torch does it.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            onnx_model(network, batch), options, providers=["CPUExecutionProvider"]
        )

    def vectors(self, charts: Pixels) -> Floats32:
        """Vectors of a batch of uint8 charts `(batch, 3 * bars, 64)`: float32 `(batch, dim)`."""
        vectors: Floats32 = self._session.run(None, {"charts": charts})[0]
        return vectors


def onnx_model(network: AttentionEncoder, batch: int) -> bytes:
    """A network without batch normalisation as an ONNX file; its input is uint8 `(batch, 3 * bars, 64)`."""
    graph = _Graph()
    shape = (batch, network.window_bars * PIXELS_PER_BAR, HEIGHT)
    x = graph.add("Cast", "charts", to=TensorProto.FLOAT)
    x = graph.add("Div", x, graph.number(255.0))
    x = graph.add("Reshape", x, graph.sizes(batch, 1, *shape[1:]))
    for layer in network.convolutions:
        if isinstance(layer, nn.Conv2d):
            padding = [*map(int, layer.padding)] * 2
            x = graph.add("Conv", x, *graph.weights(layer), strides=layer.stride, pads=padding)
        else:
            x = graph.add("Relu", x)
    count, width = network.place.shape
    x = graph.add("Transpose", graph.add("Reshape", x, graph.sizes(batch, width, count)), perm=(0, 2, 1))
    places = graph.add("Add", x, graph.tensor(network.place))
    seen = graph.add("LayerNormalization", places, *graph.weights(network.norm), epsilon=network.norm.eps)
    places = graph.add("Add", places, _attention(graph, network.attention, seen, (batch, count, width)))
    x = graph.add("Reshape", places, graph.sizes(batch, count * width))
    x = graph.add("Gemm", x, *graph.weights(network.latent), transB=1)
    x = graph.add("Div", x, graph.add("ReduceL2", x, graph.sizes(1)))
    inputs = [helper.make_tensor_value_info("charts", TensorProto.UINT8, shape)]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, (batch, network.dim))]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", _OPERATORS)],
        ir_version=_FORMAT,
    )
    return bytes(model.SerializeToString())


def _attention(graph: "_Graph", layer: nn.MultiheadAttention, x: str, shape: tuple[int, int, int]) -> str:
    """What `layer(x, x, x)` gives, for x of a shape `(batch, places, width)`."""
    heads = graph.sizes(*shape[:2], layer.num_heads, layer.head_dim)
    parts = []
    # Queries and keys by heads, so that keys are the right way round for the product of the two.
    for weight, bias, order in zip(
        layer.in_proj_weight.chunk(3),
        layer.in_proj_bias.chunk(3),
        ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)),
        strict=True,
    ):
        part = graph.add("Add", graph.add("MatMul", x, graph.tensor(weight.T)), graph.tensor(bias))
        parts.append(graph.add("Transpose", graph.add("Reshape", part, heads), perm=order))
    queries, keys, values = parts
    scores = graph.add("Div", graph.add("MatMul", queries, keys), graph.number(math.sqrt(layer.head_dim)))
    seen = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), values)
    seen = graph.add("Reshape", graph.add("Transpose", seen, perm=(0, 2, 1, 3)), graph.sizes(*shape))
    out = layer.out_proj
    return graph.add("Add", graph.add("MatMul", seen, graph.tensor(out.weight.T)), graph.tensor(out.bias))


class _Graph:
    """Nodes and constants of a graph, each under the name of its number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Add an operator; returns the name of its output."""
        name = f"node{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def tensor(self, values: Tensor) -> str:
        return self._constant(values.detach().numpy())

    def weights(self, layer: nn.Conv2d | nn.LayerNorm | nn.Linear) -> Sequence[str]:
        return [self.tensor(values) for values in (layer.weight, layer.bias) if values is not None]

    def number(self, value: float) -> str:
        return self._constant(np.float32(value))

    def sizes(self, *values: int) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, values: NDArray[Any] | np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

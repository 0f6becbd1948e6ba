"""The operators of a TFLite graph, run one by one in LiteRT, so that what flows between them can be seen."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite_edit import add_buffer, operator_name, values
from ._tflite_flatbuffer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = [
    "Flow",
    "Linear",
    "UnknownGraphError",
    "activation_ranges",
    "computed_inputs",
    "run_operator",
    "walk",
]

#: More would wait for each other: an operator on one picture is short.
_THREADS = 2


class UnknownGraphError(Exception):
    """A graph has an operator that cannot be run alone, one picture at a time. Never leaves this package."""


@dataclass(frozen=True)
class Linear:
    """A convolution or dense layer with constant float32 or int8 weights, of which bias and scale are free.

    Attributes:
        operator: as it stands in the graph.
        depthwise: each output channel reads one input channel.
        weights: as stored.
        bias: as stored; None where there is none.
    """

    operator: Any
    depthwise: bool
    weights: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None

    @classmethod
    def of(cls, parsed: Any, operator: Any) -> Linear | None:
        """Return an operator as a linear one; None if it is none, or a kind whose weights do not say all.

        These are: grouped or dilated convolutions, several outputs per depthwise channel, and dense layers on more than
        two axes.
        """
        name = operator_name(parsed, operator)
        if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") or len(operator.inputs) < 2:
            return None
        tensors, options = parsed.subgraphs[0].tensors, operator.builtinOptions
        weights, bias = (_constant(parsed, index) for index in [*operator.inputs, -1][1:3])
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        shape = tensors[operator.inputs[0]].shape
        if weights is None or (has_bias and bias is None) or weights.shape[-1] != shape[-1]:
            return None
        if len(shape) != (2 if name == "FULLY_CONNECTED" else 4):
            return None
        if name != "FULLY_CONNECTED" and (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            return None
        return cls(operator, name == "DEPTHWISE_CONV_2D", weights, bias)

    @property
    def input(self) -> int:
        return int(self.operator.inputs[0])

    @property
    def output(self) -> int:
        return int(self.operator.outputs[0])

    @property
    def matrix(self) -> npt.NDArray[Any]:
        """The weights as `(taps, channels)`, where the taps of an ordinary convolution run over all input channels."""
        if self.depthwise:
            return self.weights.reshape(-1, self.weights.shape[3])
        return self.weights.reshape(len(self.weights), -1).T

    def stored(self, matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give `(taps, channels)` the shape of the weights."""
        return (matrix if self.depthwise else matrix.T).reshape(self.weights.shape)

    def put(self, parsed: Any, weights: npt.NDArray[Any], bias: npt.NDArray[Any] | None) -> None:
        """Store other weights and bias, of the types that are there. Buffers of their own: others may share the old."""
        tensors = parsed.subgraphs[0].tensors
        for place, old, new in ((1, self.weights, weights), (2, self.bias, bias)):
            if old is not None and new is not None:
                tensors[self.operator.inputs[place]].buffer = add_buffer(parsed, np.ascontiguousarray(new, old.dtype))

    def windows(
        self, inputs: npt.NDArray[Any], places: npt.NDArray[np.intp], height_width: tuple[int, int], pad: float
    ) -> npt.NDArray[Any]:
        """Return what the layer multiplies its weights with.

        Args:
            inputs: `(pictures, height, width, channels)`, or `(pictures, channels)` of a dense layer.
            places: `(pictures, n)`, indices into the flattened output picture; unused for a dense layer.
            height_width: of the output.
            pad: what stands outside of the picture.

        Returns:
            `(pictures, n, taps)`, of a depthwise convolution `(pictures, n, taps, channels)`.
        """
        if self.weights.ndim == 2:
            return inputs[:, np.newaxis]
        options = self.operator.builtinOptions
        kernel, size = self.weights.shape[1:3], inputs.shape[1:3]
        inside: Any = True
        found: list[npt.NDArray[np.intp]] = []
        for axis, (stride, at) in enumerate(
            zip((options.strideH, options.strideW), (places // height_width[1], places % height_width[1]), strict=True)
        ):
            # SAME padding, the smaller half first (tensorflow/lite/kernels/padding.h); 1 is VALID.
            overhang = max((height_width[axis] - 1) * stride + kernel[axis] - size[axis], 0)
            shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
            steps = np.arange(kernel[axis]).reshape(shape)
            index = at[:, :, np.newaxis, np.newaxis] * stride + steps - (overhang // 2 if options.padding == 0 else 0)
            inside = inside & (index >= 0) & (index < size[axis])
            found.append(index.clip(0, size[axis] - 1))
        pictures = np.arange(len(inputs)).reshape(-1, 1, 1, 1)
        taken = inputs[pictures, found[0], found[1]]
        taken = np.where(inside[..., np.newaxis], taken, inputs.dtype.type(pad))
        shape = (*places.shape, -1, inputs.shape[3]) if self.depthwise else (*places.shape, -1)
        return taken.reshape(shape)


def computed_inputs(parsed: Any, operator: Any) -> list[int]:
    """List the inputs of an operator that are not constant, each once."""
    tensors = parsed.subgraphs[0].tensors
    found = (int(i) for i in operator.inputs if i >= 0 and parsed.buffers[tensors[i].buffer].data is None)
    return list(dict.fromkeys(found))


def run_operator(parsed: Any, operator: Any, inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Run one operator by the kernel that runs it on a device.

    Args:
        parsed: the model that it belongs to, which takes one picture.
        operator: has one output.
        inputs: what `computed_inputs` lists, `(pictures, …)` each.

    Returns:
        Its output, `(pictures, …)`.

    Raises:
        UnknownGraphError: it is no function of one picture with one output.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not inputs or len(operator.outputs) != 1:
        raise UnknownGraphError(operator_name(parsed, operator))
    interpreter: Any = Interpreter(model_content=_alone(parsed, operator), num_threads=_THREADS)
    interpreter.allocate_tensors()
    places = [each["index"] for each in interpreter.get_input_details()]
    (out,) = interpreter.get_output_details()
    if any(each.shape[:1] != inputs[0].shape[:1] for each in inputs) or tuple(out["shape"][:1]) != (1,):
        raise UnknownGraphError(operator_name(parsed, operator))
    outputs = np.empty((len(inputs[0]), *out["shape"][1:]), out["dtype"])
    for picture in range(len(outputs)):
        for place, each in zip(places, inputs, strict=True):
            interpreter.set_tensor(place, each[picture : picture + 1])
        interpreter.invoke()
        outputs[picture] = interpreter.get_tensor(out["index"])[0]
    return outputs


class Flow:
    """Activations of a model that is run operator by operator. What no later operator reads is forgotten.

    Attributes:
        parsed: the model.
        known: activations by tensor, `(pictures, …)`.
    """

    def __init__(self, parsed: Any, inputs: npt.NDArray[Any]) -> None:
        """Begin.

        Raises:
            UnknownGraphError: an operator has more than one output.
        """
        graph = parsed.subgraphs[0]
        for operator in graph.operators:
            if len(operator.outputs) != 1:
                raise UnknownGraphError(operator_name(parsed, operator))
        self.parsed = parsed
        self.known: dict[int, npt.NDArray[Any]] = {int(graph.inputs[0]): inputs}
        self._last = {int(index): id(operator) for operator in graph.operators for index in operator.inputs}

    def advance(self, operator: Any) -> tuple[list[npt.NDArray[Any]], npt.NDArray[Any]]:
        """Run the next operator; return its inputs and its output.

        Raises:
            UnknownGraphError: see `run_operator`.
        """
        read = computed_inputs(self.parsed, operator)
        if not all(index in self.known for index in read):
            raise UnknownGraphError(operator_name(self.parsed, operator))
        taken = [self.known[index] for index in read]
        output = run_operator(self.parsed, operator, taken)
        for index in read:
            if self._last[index] == id(operator):
                del self.known[index]
        self.known[int(operator.outputs[0])] = output
        return taken, output


def walk(parsed: Any, inputs: npt.NDArray[Any]) -> Iterator[tuple[Any, list[npt.NDArray[Any]], npt.NDArray[Any]]]:
    """Run a model operator by operator, and give of each its inputs and its output; see `Flow`."""
    flow = Flow(parsed, inputs)
    for operator in parsed.subgraphs[0].operators:
        yield operator, *flow.advance(operator)


def activation_ranges(model: bytes, numbers: npt.NDArray[np.float32]) -> dict[int, tuple[float, float]]:
    """Run a float model on pictures and note the lowest and highest value of every activation, by tensor.

    Args:
        model: flatbuffer with one float32 input `(1, …)`.
        numbers: for that input, `(n, …)`.

    Raises:
        UnknownGraphError: the model has loops, branches or a memory, which hold activations of their own.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    if len(parsed.subgraphs) > 1 or any(tensor.isVariable for tensor in graph.tensors):
        raise UnknownGraphError("state")
    made = (int(index) for operator in graph.operators for index in operator.outputs)
    watched = [index for index in dict.fromkeys(made) if graph.tensors[index].type == schema.TensorType.FLOAT32]
    # As outputs, so that kernels which compute several operators at once show what lies between these.
    graph.outputs = np.array(watched, np.int32)
    interpreter: Any = Interpreter(model_content=pack(parsed), num_threads=_THREADS)
    interpreter.allocate_tensors()
    ranges = {int(graph.inputs[0]): (float(numbers.min()), float(numbers.max()))}
    for each in numbers:
        interpreter.set_tensor(int(graph.inputs[0]), each[np.newaxis])
        interpreter.invoke()
        for index in watched:
            values = interpreter.get_tensor(index)
            low, high = ranges.get(index, (np.inf, -np.inf))
            ranges[index] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


def _constant(parsed: Any, index: int) -> npt.NDArray[Any] | None:
    """Return float32, int8, int32 or int64 content; None for others and for what is computed."""
    from ai_edge_litert import schema_py_generated as schema

    types = schema.TensorType
    dtypes: dict[int, Any] = {
        types.FLOAT32: np.float32,
        types.INT8: np.int8,
        types.INT32: np.int32,
        types.INT64: np.int64,
    }
    tensor = parsed.subgraphs[0].tensors[index] if index >= 0 else None
    if tensor is None or tensor.type not in dtypes or parsed.buffers[tensor.buffer].data is None:
        return None
    return values(parsed, tensor, dtypes[tensor.type])


def _alone(parsed: Any, operator: Any) -> bytes:
    """Return a model that holds this operator and nothing else."""
    from ai_edge_litert import schema_py_generated as schema

    graph: Any = schema.SubGraphT()
    model: Any = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = [parsed.operatorCodes[operator.opcodeIndex]]
    places: dict[int, int] = {}
    graph.tensors = []
    for index in (*operator.inputs, *operator.outputs):
        if index < 0 or index in places:
            continue
        tensor = copy.copy(parsed.subgraphs[0].tensors[index])
        buffer = parsed.buffers[tensor.buffer]
        tensor.buffer = 0
        if buffer.data is not None:
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        places[int(index)] = len(graph.tensors)
        graph.tensors.append(tensor)
    alone = copy.copy(operator)
    alone.opcodeIndex = 0
    alone.inputs = [places.get(int(index), -1) for index in operator.inputs]
    alone.outputs = [places[int(index)] for index in operator.outputs]
    graph.operators, graph.outputs = [alone], alone.outputs
    graph.inputs = [places[index] for index in computed_inputs(parsed, operator)]
    return pack(model)

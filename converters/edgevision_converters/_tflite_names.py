"""Readable tensor names: each tensor is called after the Keras layer that made it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._tflite_edit import operator_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import keras

__all__ = ["are_numbered", "layers_in", "layers_with_matrix", "name_tensors"]

_NUMBER = re.compile(r"_\d+$")
_WEIGHTS_BIAS = {1: "weights", 2: "bias"}
#: What an operator's constant inputs are: operator → position → role. Of all others each is a "constant".
_ROLES: dict[str, dict[int, str]] = {
    "CONV_2D": _WEIGHTS_BIAS,
    "DEPTHWISE_CONV_2D": _WEIGHTS_BIAS,
    "FULLY_CONNECTED": _WEIGHTS_BIAS,
    "TRANSPOSE_CONV": {0: "shape", 1: "weights", 3: "bias"},
    "RESHAPE": {1: "shape"},
    "MEAN": {1: "axes"},
    "PAD": {1: "paddings"},
    "PADV2": {1: "paddings"},
}


def layers_with_matrix(model: keras.Model) -> dict[str, bool]:
    """Say of each layer, nested models taken apart, whether it has weights of two or more axes.

    Convolutions and Dense layers have; BatchNormalization has not, and vanishes in the converter.
    """
    import keras

    found: dict[str, bool] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= layers_with_matrix(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            found[layer.name] = any(len(weight.shape) >= 2 for weight in layer.weights)
    return found


def layers_in(old: str, layers: Mapping[str, bool], *, numbered: bool = True) -> list[str]:
    """Find the layers in a converter's name, such as `core_1/stem_bn_1/add;core_1/stem_conv_1/convolution`.

    Within one path the outermost layer counts: what follows are its operators, which may be called as layers are.

    Args:
        old: the name.
        layers: see `name_tensors`.
        numbered: see `are_numbered`.
    """
    found: list[str] = []
    for path in old.split(";"):
        pairs = ((_NUMBER.sub("", part), part) for part in path.split("/"))
        candidates = (name for pair in pairs for name in (pair if numbered else pair[::-1]))
        found += [name for name in candidates if name in layers][:1]
    return list(dict.fromkeys(found))


def are_numbered(names: Iterable[str], layers: Mapping[str, bool]) -> bool:
    """Say whether a graph's names have a number behind each layer, so that `conv_1` is of `conv`.

    Keras 3 opens a layer's name scope to build it and again to call it, and TensorFlow numbers the second: the layers
    `add` and `add_1` are `add_1` and `add_1_2` there. In a graph from Keras 2 and in one that `name_tensors` has named
    already, they are what they are. A name that is a layer's only with its number, or only without, tells which.
    """
    votes = 0
    for path in {path for name in names for path in name.split(";")}:
        for part in path.split("/"):
            plain = _NUMBER.sub("", part)
            if part in layers or plain in layers:
                votes += (plain != part and plain in layers) - (part in layers)
                break
    return votes >= 0


def name_tensors(parsed: Any, layers: Mapping[str, bool]) -> None:
    """Rename the tensors of a parsed TFLite model, in place, so that a viewer shows what the user built.

    The converter joins the names of all the TensorFlow operators that it fused, up to 300 characters for one tensor.
    Here the output of a layer `stem` is `stem`, its constants are `stem/weights` and `stem/bias`. Where several
    operators make up a layer, the last one has its name and the ones before it say what they do: `rescaling/mul`. An
    operator that belongs to no layer is called after what it reads: `pixels/quantize`. The model's input is `pixels`,
    its output `scores`.

    Args:
        parsed: a `ModelT` with one input and one output. Only its first graph is renamed.
        layers: the Keras layers: name → whether it has a weight matrix. Where none is known, all names stay.
    """
    if layers:
        _Naming(parsed, layers).run()


class _Naming:
    def __init__(self, parsed: Any, layers: Mapping[str, bool]) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
        self._parsed, self._graph, self._layers = parsed, parsed.subgraphs[0], layers
        tensors = self._graph.tensors
        self._old = [(tensor.name or b"").decode() for tensor in tensors]
        self._numbered = are_numbered(self._old, layers)
        self._names: dict[int, str] = {}
        self._used: set[str] = set()
        self._constants = {index for index, each in enumerate(tensors) if parsed.buffers[each.buffer].data is not None}
        #: Constant → the operator that computes it from other constants: float16 weights pass a DEQUANTIZE.
        self._computed: dict[int, Any] = {}

    def run(self) -> None:
        graph = self._graph
        operators: list[Any] = []
        for operator in graph.operators:
            read = {index for index in operator.inputs if index >= 0}
            if read and read <= self._constants:
                self._constants.update(operator.outputs)
                self._computed |= dict.fromkeys(operator.outputs, operator)
            else:
                operators.append(operator)
        self._give(graph.inputs[0], "pixels")
        self._give(graph.outputs[0], "scores")
        bases = self._name_activations(operators)
        self._name_constants(operators, bases)
        for index, tensor in enumerate(graph.tensors):
            self._give(index, "unused")
            tensor.name = self._names[index].encode()

    def _name_activations(self, operators: list[Any]) -> list[str]:
        """Name what operators write. Return for each the layer that it belongs to."""
        made = [self._layer(operator) for operator in operators]
        last = {layer: place for place, layer in enumerate(made)}
        base_of = {self._graph.inputs[0]: "pixels"}
        bases: list[str] = []
        for place, (operator, layer) in enumerate(zip(operators, made, strict=True)):
            base = layer or next((base_of[index] for index in operator.inputs if index in base_of), "pixels")
            bases.append(base)
            whole = layer and last[layer] == place and layer not in self._used
            for index in operator.outputs:
                base_of[index] = base
                self._give(index, base if whole else f"{base}/{self._code(operator).lower()}")
        return bases

    def _name_constants(self, operators: list[Any], bases: list[str]) -> None:
        # A separable convolution has two; a layer that is called twice reads the same one twice.
        matrices = {(base, self._weights(operator)) for operator, base in zip(operators, bases, strict=True)}
        owners = [base for base, weights in matrices if weights is not None]
        for operator, base in zip(operators, bases, strict=True):
            roles = _ROLES.get(self._code(operator), {})
            for position, index in enumerate(operator.inputs):
                role = roles.get(position, "constant")
                alone = role in ("weights", "bias") and owners.count(base) == 1
                self._give_constant(index, f"{base if alone else self._names[operator.outputs[0]]}/{role}")

    def _give_constant(self, index: int, name: str) -> None:
        self._give(index, name)
        if index in self._computed:
            for stored in self._computed[index].inputs:
                self._give_constant(stored, f"{name}/{self._types[self._graph.tensors[stored].type].lower()}")

    def _give(self, index: int, name: str) -> None:
        """Name a tensor that has no name yet; of several that would be called the same, the second is `name_2`."""
        if index < 0 or index in self._names:  # -1 stands for an input that is left out
            return
        unique, count = name, 1
        while unique in self._used:
            count += 1
            unique = f"{name}_{count}"
        self._names[index] = unique
        self._used.add(unique)

    def _code(self, operator: Any) -> str:
        return operator_name(self._parsed, operator)

    def _weights(self, operator: Any) -> int | None:
        """Return the index of the weights that an operator multiplies with, if it is of that kind."""
        roles = _ROLES.get(self._code(operator), {})
        return next((operator.inputs[place] for place, role in roles.items() if role == "weights"), None)

    def _layer(self, operator: Any) -> str:
        """Return the layer that an operator comes from, or "". A fused one belongs to the layer with the weights."""
        found = self._layers_of(operator.outputs[0])
        weights = self._weights(operator)
        if weights is None:
            return (*found, "")[0]
        with_matrix = [layer for layer in found if self._layers[layer]]
        of_weights = [layer for layer in self._layers_of(weights) if self._layers[layer]]
        both = [layer for layer in with_matrix if layer in of_weights]
        return (*both, *with_matrix, *of_weights, *found, "")[0]

    def _layers_of(self, index: int) -> list[str]:
        return layers_in(self._old[index], self._layers, numbered=self._numbered)

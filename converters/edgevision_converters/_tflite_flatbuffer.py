"""TFLite flatbuffers as objects, written small, and TFLite Metadata inside them.

Schema: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/schema/schema.fbs. Metadata schema:
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs, version
1.5.0. MediaPipe's wheel holds a writer that imports a module the wheel lacks (mediapipe 1.2.2), so it is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgevision_device import Metadata

__all__ = ["add_tflite_metadata", "builtin_code", "compact", "pack", "unpack"]

_METADATA_NAME = b"TFLITE_METADATA"
#: What the converter writes about itself. `reduced_precision_support` stays: by it runtimes may compute in float16.
_UNREAD_METADATA = (b"min_runtime_version", b"CONVERSION_METADATA")
#: Enum values of the metadata schema.
_IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS, _RGB, _TENSOR_AXIS_LABELS = 2, 1, 1, 2


def unpack(model: bytes) -> Any:
    """Parse a TFLite flatbuffer into a tree of objects (`schema_py_generated.ModelT`)."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model, 0)


def builtin_code(parsed: Any, operator: Any) -> int:
    """Return which operator of `BuiltinOperator` an operator is."""
    code = parsed.operatorCodes[operator.opcodeIndex]
    # Old writers fill only the deprecated 8-bit field (schema.fbs, OperatorCode).
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def compact(parsed: Any) -> None:
    """Drop, in place, what no runtime reads: empty and equal buffers, empty quantization, the converter's notes.

    A tensor without data has buffer 0, which is always empty (schema.fbs, Tensor).
    """
    # The signature repeats the old names of input and output, which it finds by index.
    parsed.signatureDefs = None
    parsed.metadata = [entry for entry in parsed.metadata or () if entry.name not in _UNREAD_METADATA]
    buffers, places = [parsed.buffers[0]], dict[bytes, int]()
    tensors = [tensor for graph in parsed.subgraphs for tensor in graph.tensors]
    for tensor in tensors:
        quantization = tensor.quantization
        if quantization is not None and quantization.scale is None and quantization.details is None:
            tensor.quantization = None
    for owner in (*tensors, *parsed.metadata):
        buffer = parsed.buffers[owner.buffer]
        if buffer.data is None:
            owner.buffer = 0
            continue
        content = buffer.data.tobytes()
        if content not in places:
            places[content] = len(buffers)
            buffers.append(buffer)
        owner.buffer = places[content]
    parsed.buffers = buffers


def pack(parsed: Any) -> bytes:
    """Write the tree back, equal vectors once. Weights start at multiples of 16 bytes (the schema's `force_align`)."""
    builder = _Builder(1 << 20)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Points at an equal string or vector where one was written before.

    Readers follow offsets and cannot tell. A fifth of a small int8 file would be int64 zero points: a 0 per channel of
    every weight and bias, for the interpreter wants as many as scales (tensorflow/lite/core/interpreter_builder.cc,
    ParseQuantization).
    """

    def __init__(self, initialSize: int) -> None:
        super().__init__(initialSize)
        self._written: dict[Any, int] = {}

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:
        content = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)

        def write() -> int:
            return super(_Builder, self).CreateString(content)

        return self._once(("string", content), write)

    def CreateNumpyVector(self, x: Any) -> int:
        def write() -> int:
            if x.dtype == np.uint8:
                # flatbuffers' Python code generator ignores `force_align`, which the kernels' SIMD loads rely on.
                self.Prep(16, x.nbytes)
            return super(_Builder, self).CreateNumpyVector(x)

        return self._once((x.dtype.str, x.tobytes()), write)

    def _once(self, key: Any, write: Callable[[], int]) -> int:
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]


def add_tflite_metadata(model: bytes, metadata: Metadata) -> bytes:
    """Put TFLite Metadata into a model: what MediaPipe Tasks, ML Kit and Android Studio read.

    The labels are an associated file, `labels.txt`, which `edgevision_device.seal` appends.
    """
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(model)
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(_encode(metadata), np.uint8)
    parsed.buffers.append(buffer)
    entry: Any = schema.MetadataT()
    entry.name = _METADATA_NAME
    entry.buffer = len(parsed.buffers) - 1
    parsed.metadata = [*(each for each in parsed.metadata or () if each.name != _METADATA_NAME), entry]
    parsed.description = f"{metadata.name} ({metadata.recipe}), edgevision {metadata.edgevision}".encode()
    return pack(parsed)


def _encode(metadata: Metadata) -> bytes:
    width, height = metadata.size_wh
    # The input takes raw pixels, so readers that normalize have nothing to do; for int8 they normalize, and then
    # quantize with the input's scale and zero point, which gives the raw pixels back.
    inner = metadata.normalization if metadata.recipe == "int8" and len(metadata.normalization.mean) == 1 else None
    mean, std = (inner.mean, inner.std) if inner else ((0.0,), (1.0,))
    meaning = f" ({metadata.recipe_meaning})" if metadata.recipe_meaning else ""
    builder = _Builder(1024)

    def text(value: str) -> tuple[str, int]:
        return "offset", builder.CreateString(value)

    def table(*slots: tuple[int, tuple[str, Any]]) -> int:
        return _table(builder, slots)

    def tables(*offsets: int) -> tuple[str, int]:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return "offset", builder.EndVector()

    def floats(values: Sequence[float]) -> tuple[str, int]:
        return "offset", builder.CreateNumpyVector(np.asarray(values, np.float32))

    image_size = table((0, ("uint32", width)), (1, ("uint32", height)))
    image = table((0, ("int8", _RGB)), (1, ("offset", image_size)))
    content = table((0, ("uint8", _IMAGE_PROPERTIES)), (1, ("offset", image)))
    options = table((0, floats(mean)), (1, floats(std)))
    unit = table((0, ("uint8", _NORMALIZATION_OPTIONS)), (1, ("offset", options)))
    pixels = table(
        (0, text("pixels")),
        (1, text("A picture, resized to the input's size: raw 8-bit RGB.")),
        (3, ("offset", content)),
        (4, tables(unit)),
        (5, ("offset", table((0, floats([255.0])), (1, floats([0.0]))))),
    )
    labels = table((0, text("labels.txt")), (1, text("One label per score.")), (2, ("int8", _TENSOR_AXIS_LABELS)))
    feature = table()
    scores = table(
        (0, text("scores")),
        (1, text("One score between 0 and 1 per label.")),
        (3, ("offset", table((0, ("uint8", 1)), (1, ("offset", feature))))),
        (5, ("offset", table((0, floats([1.0])), (1, floats([0.0]))))),
        (6, tables(labels)),
    )
    subgraph = table((2, tables(pixels)), (3, tables(scores)))
    # Naming it here marks the model part itself, so that a copy which was cut short is still known as ours.
    record = table((0, text("edgevision.json")), (1, text("What edgevision says of this file.")))
    root = table(
        (0, text(metadata.name)),
        (1, text(f"Image classifier, {metadata.recipe}{meaning}.")),
        (2, text(metadata.edgevision)),
        (3, tables(subgraph)),
        (6, tables(record)),
        (7, text("1.0.0")),
    )
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def _table(builder: Any, slots: Sequence[tuple[int, tuple[str, Any]]]) -> int:
    builder.StartObject(max((number for number, _ in slots), default=0) + 1)
    for number, (kind, value) in slots:
        add: dict[str, Callable[[int, Any, Any], None]] = {
            "offset": builder.PrependUOffsetTRelativeSlot,
            "uint8": builder.PrependUint8Slot,
            "int8": builder.PrependInt8Slot,
            "uint32": builder.PrependUint32Slot,
        }
        add[kind](number, value, 0)
    return builder.EndObject()

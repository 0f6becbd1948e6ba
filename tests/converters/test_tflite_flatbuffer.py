"""TFLite files byte by byte: where weights lie, what stands once, what the metadata says, what tensors are called."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgevision_converters import (
    Calibration,
    ExportedFile,
    SourceModel,
    _keras_source,
    _tensorflow_graph,
    _tflite,
    _tflite_edit,
    _tflite_weights,
)
from edgevision_converters._tflite_flatbuffer import compact, pack, unpack
from edgevision_device import read_model_file

LABELS = ["red", "green", "blue", "yellow stripe"]


@pytest.fixture(params=["float32", "float16", "dynamic", "int8"])
def path(request: pytest.FixtureRequest, exported: dict[str, ExportedFile]) -> Path:
    return exported[f"patches.{request.param}.tflite"].path


def model_of(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAs(content, 0)


def test_every_weight_buffer_is_aligned_in_the_file(path: Path) -> None:
    content = path.read_bytes()
    model = model_of(content)
    places = []
    for number in range(model.BuffersLength()):
        table = model.Buffers(number)._tab
        field = table.Offset(4)  # Buffer.data, schema.fbs
        if field:
            places.append(table.Vector(field))
    assert len(places) > 8
    assert [place for place in places if place % 16] == []
    # The largest of them is where its bytes say it is, so the places are those of the file.
    largest = max(range(model.BuffersLength()), key=lambda number: model.Buffers(number).DataLength())
    data = model.Buffers(largest).DataAsNumpy().tobytes()
    assert content.find(data) % 16 == 0


class PlainBuilder(flatbuffers.Builder):
    """Shares nothing, and aligns as the kernels need it."""

    def CreateNumpyVector(self, x: Any) -> Any:
        self.Prep(16, x.nbytes)
        return super().CreateNumpyVector(x)


def plain_pack(parsed: Any) -> bytes:
    builder = PlainBuilder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def scores_of(model: bytes, pixels: np.ndarray, kernels: str) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runtime: Any = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType[kernels], num_threads=1
    )
    runtime.allocate_tensors()
    given, asked = runtime.get_input_details()[0]["index"], runtime.get_output_details()[0]["index"]
    scores = []
    for picture in pixels:
        runtime.set_tensor(given, picture[np.newaxis])
        runtime.invoke()
        scores.append(runtime.get_tensor(asked)[0].copy())
    return np.stack(scores)


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic", "int8"])
def test_a_small_file_computes_what_the_converter_wrote(
    recipe: str,
    source: SourceModel,
    calibration: Calibration,
    exported: dict[str, ExportedFile],
    held_out: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = read_model_file(exported[f"patches.{recipe}.tflite"].path).model
    for module in (_tensorflow_graph, _tflite):
        monkeypatch.setattr(module, "name_tensors", lambda parsed, layers: None)
    for module in (_keras_source, _tensorflow_graph, _tflite, _tflite_edit):
        monkeypatch.setattr(module, "compact", lambda parsed: None)
    for module in (_keras_source, _tensorflow_graph, _tflite, _tflite_weights):
        monkeypatch.setattr(module, "pack", plain_pack)
    fresh = dataclasses.replace(source)  # which has converted nothing yet
    plain = _tflite.TfliteConversion(fresh, calibration.pixels_nhwc).convert(recipe)
    # The small file holds TFLite Metadata already, the plain one not yet.
    assert len(small) < len(plain)
    pixels = held_out.pixels
    for kernels in ("AUTO", "BUILTIN_REF"):  # XNNPACK, and the kernels that boards without it run
        expected = scores_of(plain, pixels, kernels)
        assert np.array_equal(scores_of(small, pixels, kernels), expected)
        assert len(np.unique(expected.round(3), axis=0)) > 20


def vectors_of(content: bytes, slot: int) -> list[tuple[int, bytes]]:
    """Return place and content of a vector of each tensor's quantization: slot 2 is the scale, 3 the zero point."""
    graph = model_of(content).Subgraphs(0)
    found = []
    for number in range(graph.TensorsLength()):
        quantization = graph.Tensors(number).Quantization()
        field = quantization and quantization._tab.Offset(4 + 2 * slot)
        if field:
            start, length = quantization._tab.Vector(field), quantization._tab.VectorLen(field)
            found.append((start, content[start : start + length * (4, 8)[slot - 2]]))
    return found


def test_equal_scales_and_zero_points_stand_once(exported: dict[str, ExportedFile]) -> None:
    content = exported["patches.int8.tflite"].path.read_bytes()
    scales, zero_points = vectors_of(content, 2), vectors_of(content, 3)
    for vectors in (scales, zero_points):
        assert len(dict(vectors)) == len({vector for _, vector in vectors})
    # Weights and bias of a layer have as many zero points, all of them 0.
    assert len(dict(zero_points)) <= len(zero_points) - 4
    # What interpreters ask for before they run a file.
    assert [len(vector) // 4 for _, vector in scales] == [len(vector) // 8 for _, vector in zero_points]


def test_the_converter_says_nothing_about_itself(path: Path) -> None:
    model = model_of(path.read_bytes())
    said = {model.Metadata(number).Name().decode() for number in range(model.MetadataLength())}
    assert said - {"reduced_precision_support"} == {"TFLITE_METADATA"}
    # XNNPACK computes in float16 where a file allows it so.
    assert ("reduced_precision_support" in said) == (read_model_file(path).metadata.recipe == "float16")
    assert model.SignatureDefsLength() == 0
    # Buffer 0 is the empty one of all tensors without data.
    assert [model.Buffers(number).DataLength() > 0 for number in range(4)] == [False, True, True, True]
    graph = model.Subgraphs(0)
    used = {graph.Tensors(number).Buffer() for number in range(graph.TensorsLength())}
    used |= {model.Metadata(number).Buffer() for number in range(model.MetadataLength())}
    assert used == set(range(model.BuffersLength()))


def test_equal_buffers_become_one() -> None:
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT()
    model.buffers = [schema.BufferT() for _ in range(5)]
    for number, data in ((1, [1, 2]), (2, [3]), (4, [1, 2])):
        model.buffers[number].data = np.array(data, np.uint8)
    graph: Any = schema.SubGraphT()
    graph.tensors = [schema.TensorT() for _ in range(4)]
    for tensor, buffer in zip(graph.tensors, (4, 3, 1, 2), strict=True):
        tensor.buffer = buffer
    model.subgraphs = [graph]
    compact(model)
    again = unpack(pack(model))
    assert [tensor.buffer for tensor in again.subgraphs[0].tensors] == [1, 0, 1, 2]
    assert [None if buffer.data is None else buffer.data.tolist() for buffer in again.buffers] == [None, [1, 2], [3]]


def test_tensors_and_model_are_named(path: Path) -> None:
    model = model_of(path.read_bytes())
    graph = model.Subgraphs(0)
    assert model.SubgraphsLength() == graph.InputsLength() == graph.OutputsLength() == 1
    assert graph.Tensors(graph.Inputs(0)).Name() == b"pixels"
    assert graph.Tensors(graph.Outputs(0)).Name() == b"scores"
    names = [graph.Tensors(number).Name().decode() for number in range(graph.TensorsLength())]
    assert len(set(names)) == len(names)
    assert {"first", "second", "third", "third/weights", "third/bias", "scores/weights", "scores/bias"} < set(names)
    recipe = read_model_file(path).metadata.recipe
    assert ("third/weights/float16" in names) == (recipe == "float16")
    assert model.Description().startswith(f"patches ({recipe}), edgevision ".encode())


class Table:
    """Reads a flatbuffer table by the slot numbers of metadata_schema.fbs."""

    def __init__(self, content: bytes, at: int) -> None:
        from flatbuffers.table import Table as Reader

        self._reader = Reader(bytearray(content), at)

    @classmethod
    def root(cls, content: bytes) -> Table:
        return cls(content, int.from_bytes(content[:4], "little"))

    def _field(self, slot: int) -> int:
        offset = self._reader.Offset(4 + 2 * slot)
        assert offset, f"slot {slot} is empty"
        return offset

    def text(self, slot: int) -> str:
        return self._reader.String(self._field(slot) + self._reader.Pos).decode()

    def number(self, slot: int, bytes_wide: int) -> int:
        start = self._field(slot) + self._reader.Pos
        return int.from_bytes(self._reader.Bytes[start : start + bytes_wide], "little")

    def table(self, slot: int) -> Table:
        return Table(self._reader.Bytes, self._reader.Indirect(self._field(slot) + self._reader.Pos))

    def tables(self, slot: int) -> list[Table]:
        field = self._field(slot)
        start, length = self._reader.Vector(field), self._reader.VectorLen(field)
        return [Table(self._reader.Bytes, self._reader.Indirect(start + 4 * place)) for place in range(length)]

    def floats(self, slot: int) -> list[float]:
        field = self._field(slot)
        start, length = self._reader.Vector(field), self._reader.VectorLen(field)
        return np.frombuffer(self._reader.Bytes, "<f4", length, start).tolist()


def metadata_of(content: bytes) -> Table:
    model = model_of(content)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    written = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert written[4:8] == b"M001"
    return Table.root(written)


def test_the_metadata_can_be_read(path: Path) -> None:
    said = read_model_file(path).metadata
    root = metadata_of(path.read_bytes())
    assert (root.text(0), root.text(1)) == ("patches", f"Image classifier, {said.recipe} ({said.recipe_meaning}).")
    (graph,) = root.tables(3)
    (pixels,), (scores,) = graph.tables(2), graph.tables(3)

    assert pixels.text(0) == "pixels"
    content = pixels.table(3)
    assert content.number(0, 1) == 2  # ContentProperties.ImageProperties
    image = content.table(1)
    assert image.number(0, 1) == 1  # ColorSpaceType.RGB
    assert (image.table(1).number(0, 4), image.table(1).number(1, 4)) == (28, 20)  # width, height
    (unit,) = pixels.tables(4)
    assert unit.number(0, 1) == 1  # ProcessUnitOptions.NormalizationOptions
    mean_std = (unit.table(1).floats(0), unit.table(1).floats(1))
    # Readers normalize, and for int8 quantize by the input's scale and zero point: the pixels come out either way.
    assert mean_std == (([127.0], [128.0]) if said.recipe == "int8" else ([0.0], [1.0]))
    assert (pixels.table(5).floats(0), pixels.table(5).floats(1)) == ([255.0], [0.0])

    assert scores.text(0) == "scores"
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.number(2, 1)) == ("labels.txt", 2)  # AssociatedFileType.TENSOR_AXIS_LABELS


def test_the_labels_are_an_associated_file(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().splitlines() == LABELS

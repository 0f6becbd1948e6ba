"""TFLite files byte by byte: where weights lie, what the metadata says, what tensors are called."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision_converters import ExportedFile
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


def test_tensors_and_model_are_named(path: Path) -> None:
    model = model_of(path.read_bytes())
    graph = model.Subgraphs(0)
    assert model.SubgraphsLength() == graph.InputsLength() == graph.OutputsLength() == 1
    assert graph.Tensors(graph.Inputs(0)).Name() == b"pixels"
    assert graph.Tensors(graph.Outputs(0)).Name() == b"scores"
    names = [graph.Tensors(number).Name() for number in range(graph.TensorsLength())]
    assert all(names)
    assert any(b"third" in name for name in names)
    recipe = read_model_file(path).metadata.recipe
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
    recipe = read_model_file(path).metadata.recipe
    root = metadata_of(path.read_bytes())
    assert (root.text(0), root.text(1)) == ("patches", f"Image classifier, {recipe}.")
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
    assert mean_std == (([127.0], [128.0]) if recipe == "int8" else ([0.0], [1.0]))
    assert (pixels.table(5).floats(0), pixels.table(5).floats(1)) == ([255.0], [0.0])

    assert scores.text(0) == "scores"
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.number(2, 1)) == ("labels.txt", 2)  # AssociatedFileType.TENSOR_AXIS_LABELS


def test_the_labels_are_an_associated_file(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().splitlines() == LABELS

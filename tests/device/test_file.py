"""The seal: what was written is read back, and nothing else is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, Callable

import pytest

from edgevision_device import (
    DamagedFileError,
    FileError,
    ForeignFileError,
    Metadata,
    Normalization,
    read_model_file,
    seal,
)

LABELS = ("red upright", "red flat", "blue upright", "blue flat")


@pytest.fixture
def given() -> Metadata:
    """What a user says of a foreign file."""
    return Metadata("foreign", LABELS, (12, 8), "stretch", Normalization((127.0,), (128.0,)))


def test_the_committed_files_are_the_ones_that_were_made(data: Path, expected: dict[str, Any]) -> None:
    found = {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in expected["sha256"]}
    assert found == expected["sha256"]
    assert max((data / name).stat().st_size for name in found) < 10_000


def test_a_sealed_file_says_what_it_is(sealed: Path) -> None:
    file = read_model_file(sealed)
    assert file.format == sealed.suffix[1:]
    assert file.size_bytes == sealed.stat().st_size
    assert file.sha256 == hashlib.sha256(sealed.read_bytes()).hexdigest()
    assert not file.foreign
    assert file.metadata.labels == LABELS
    assert file.metadata.size_wh == (12, 8)
    assert file.metadata.normalization == Normalization((127.0,), (128.0,))
    assert file.metadata.trained_on is not None
    assert file.metadata.trained_on.pictures == 4000


def test_sealing_again_gives_the_same_bytes(sealed: Path) -> None:
    file = read_model_file(sealed)
    assert seal(file.model, file.metadata, file.format) == sealed.read_bytes()


def test_labels_need_not_be_ascii(resealed: Callable[..., Path], sealed: Path) -> None:
    labels = ("größer", "猫", "a b", "🐕 'quoted' \"twice\"")
    assert read_model_file(resealed(sealed.name, labels=labels)).metadata.labels == labels


def test_labels_need_not_even_be_utf8(resealed: Callable[..., Path], sealed: Path) -> None:
    labels = (os.fsdecode(b"caf\xe9"), "caf\\udce9", "a b", "c")
    file = resealed(sealed.name, labels=labels)
    assert read_model_file(file).metadata.labels == labels
    if file.suffix == ".tflite":
        with zipfile.ZipFile(file) as archive:
            assert archive.read("labels.txt") == b"caf\xe9\ncaf\\udce9\na b\nc\n"


def test_any_archive_tool_reads_the_labels(data: Path) -> None:
    with zipfile.ZipFile(data / "tiny.int8.tflite") as archive:
        assert archive.namelist() == ["edgevision.json", "labels.txt"]
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)
        assert json.loads(archive.read("edgevision.json"))["recipe"] == "int8"


def test_onnx_reads_the_metadata(data: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(data / "tiny.float32.onnx")
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["edgevision.json"])["labels"] == list(LABELS)


@pytest.fixture
def refused(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Return the message with which a file of these bytes is refused. Thousands of them: none goes to the disk."""

    def refuse(content: bytes) -> str:
        with monkeypatch.context() as patch:
            patch.setattr("edgevision_device._file.open", lambda *_: io.BytesIO(content), raising=False)
            with pytest.raises(FileError) as caught:
                read_model_file(sealed.name)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse


def test_every_flipped_bit_is_refused(sealed: Path, refused: Callable[[bytes], str]) -> None:
    # All of the tail, where our own parsers work on damaged structures, and a sample of the model before it.
    whole = sealed.read_bytes()
    model_bytes = len(read_model_file(sealed).model)
    positions = [*range(0, model_bytes, 97), *range(4, 8), *range(model_bytes, len(whole))]
    for position in positions:
        for bit in range(8) if position >= model_bytes else (position % 8,):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            refused(bytes(damaged))


def test_every_truncation_is_refused(sealed: Path, refused: Callable[[bytes], str]) -> None:
    whole = sealed.read_bytes()
    model_bytes = len(read_model_file(sealed).model)
    for length in [*range(0, model_bytes, 61), *range(model_bytes - 3, len(whole))]:
        refused(whole[:length])


@pytest.mark.parametrize(
    "extra", [b"\0", b"\n", b"PK\x05\x06" + bytes(18), b"x" * 5000], ids=["nul", "line", "zip", "long"]
)
def test_a_grown_file_is_refused(sealed: Path, refused: Callable[[bytes], str], extra: bytes) -> None:
    whole = sealed.read_bytes()
    model_bytes = len(read_model_file(sealed).model)
    assert "damaged" in refused(whole + extra)
    refused(whole[:model_bytes] + extra + whole[model_bytes:])
    refused(whole[: model_bytes // 2] + extra + whole[model_bytes // 2 :])


def test_the_tail_of_another_file_is_refused(sealed: Path, refused: Callable[[bytes], str]) -> None:
    file = read_model_file(sealed)
    other = seal(file.model[:-4] + b"else", file.metadata, file.format)
    assert "damaged" in refused(file.model + other[len(file.model) :])


def test_a_tail_with_other_labels_is_refused(sealed: Path, refused: Callable[[bytes], str]) -> None:
    whole = sealed.read_bytes()
    assert "damaged" in refused(whole.replace(b'"red flat"', b'"red fast"'))


def test_a_newer_format_is_refused(
    sealed: Path, refused: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = read_model_file(sealed)
    with monkeypatch.context() as patch:
        patch.setattr("edgevision_device._metadata.FORMAT", 2)
        newer = seal(file.model, file.metadata, file.format)
    assert "format 2, this edgevision reads 1; install a newer one" in refused(newer)


@pytest.mark.parametrize("name", ["foreign.float32.tflite", "foreign.float32.onnx"])
def test_a_foreign_file_needs_to_be_described(data: Path, name: str, given: Metadata) -> None:
    with pytest.raises(ForeignFileError, match="--labels FILE, --resize MODE and --pixels RANGE"):
        read_model_file(data / name)
    file = read_model_file(data / name, given)
    assert file.foreign
    assert file.model == (data / name).read_bytes()


def test_a_file_that_describes_itself_takes_no_description(sealed: Path, given: Metadata) -> None:
    with pytest.raises(FileError, match="describes itself; leave out --labels, --resize and --pixels"):
        read_model_file(sealed, given)


def test_a_damaged_file_does_not_pass_as_a_foreign_one(sealed: Path, tmp_path: Path, given: Metadata) -> None:
    whole = sealed.read_bytes()
    for length in range(len(read_model_file(sealed).model) + 60, len(whole), 7):
        (tmp_path / sealed.name).write_bytes(whole[:length])
        with pytest.raises(DamagedFileError):
            read_model_file(tmp_path / sealed.name, given)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.tflite", None, "cannot read the model file .*gone.tflite: No such file"),
        ("text.tflite", b"hello", "no TFLite file .*5 bytes"),
        ("empty.onnx", b"", "not written by edgevision"),
        ("model.keras", b"PK\x03\x04", "neither a .tflite nor an .onnx file"),
    ],
    ids=["missing", "text", "empty", "suffix"],
)
def test_what_is_no_model_file_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_model_file(tmp_path / name)


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    nested = b"[" * 200_000 + b"]" * 200_000

    def field(tag: bytes, value: bytes) -> bytes:
        length, encoded = len(value), b""
        while length > 0x7F:
            length, encoded = length >> 7, encoded + bytes([length & 0x7F | 0x80])
        return tag + encoded + bytes([length]) + value

    entry = field(b"\x72", field(b"\x0a", b"edgevision.json") + field(b"\x12", nested))
    seal_entry = field(b"\x72", field(b"\x0a", b"edgevision.seal") + field(b"\x12", b"0" * 64))
    (tmp_path / "nested.onnx").write_bytes(entry + seal_entry)
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_model_file(tmp_path / "nested.onnx")


def test_a_folder_is_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Is a directory"):
        read_model_file(tmp_path)


def test_a_renamed_tflite_file_is_known_by_its_mark(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes((data / "tiny.int8.tflite").read_bytes())
    assert read_model_file(tmp_path / "model.bin").format == "tflite"


def test_changed_metadata_changes_the_file(sealed: Path) -> None:
    file = read_model_file(sealed)
    colder = dataclasses.replace(file.metadata, temperature=0.5)
    assert seal(file.model, colder, file.format) != sealed.read_bytes()

"""Sealing metadata into model files, and refusing files whose bytes have changed since.

An edgevision file is the model part, as any other tool would write it, followed by a tail:

    .tflite   a stored zip archive (TFLite Metadata's place for associated files) with `edgevision.json` and
              `labels.txt`; the archive's comment is the seal
    .onnx     two more `metadata_props` entries of the protobuf message: `edgevision.json` and the seal

The JSON holds the SHA-256 and the length of the model part. The seal, always the last 64 bytes, is the SHA-256 of the
tail before it. Together they cover every byte once. Readers that know nothing of this see an ordinary file.

Why before anything else: of 56 damaged copies of one file, tflite-runtime 2.14 died of SIGSEGV on 17, LiteRT 2.1.0 on
10; LiteRT 2.3.0 ran most bit-flipped copies and gave different answers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from ._errors import DamagedFileError, FileError, ForeignFileError
from ._metadata import Metadata

__all__ = ["FORMATS", "ModelFile", "read_model_file", "seal"]

FORMATS = ("tflite", "onnx")

_JSON = "edgevision.json"
_LABELS = "labels.txt"
_SEAL = "edgevision.seal"
_SEAL_BYTES = 64
#: Of a zip archive's end record, before its comment, which is the seal (APPNOTE.TXT 4.3.16).
_END_BYTES = 22
#: Field 14 of onnx.ModelProto, `metadata_props`, length-delimited (onnx/onnx.proto).
_METADATA_PROPS = 14 << 3 | 2


@dataclass(frozen=True)
class ModelFile:
    """A verified model file.

    Attributes:
        path: where it came from, as it was given.
        format: `tflite` or `onnx`.
        model: the bytes for the runtime.
        metadata: what the file says about itself, or what the user said of a foreign one.
        sha256: hash of the whole file.
        size_bytes: length of the whole file.
        foreign: edgevision did not write it, so nothing about its bytes or its input could be verified.
    """

    path: str
    format: str
    model: bytes
    metadata: Metadata
    sha256: str
    size_bytes: int
    foreign: bool = False


def seal(model: bytes, metadata: Metadata, format: str) -> bytes:
    """Append metadata and seal to the bytes of a model; the same input always gives the same bytes."""
    record = metadata.to_json(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model))
    # A folder's name may hold bytes that are no UTF-8. Python keeps them as lone surrogates, which JSON may escape.
    encoded = record.encode(errors="backslashreplace")
    if format == "onnx":
        tail = _onnx_entry(_JSON, encoded)
        tail += _onnx_entry(_SEAL, b"0" * _SEAL_BYTES)
        covered = tail[:-_SEAL_BYTES]
        return model + covered + hashlib.sha256(covered).hexdigest().encode()
    import zipfile  # with what it imports, as long as the rest of this module; reading needs none of it

    buffer = io.BytesIO(model)
    labels = "".join(f"{label}\n" for label in metadata.labels).encode(errors="surrogateescape")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        # The JSON first: its name is the mark by which a copy that was cut short is known, and the device looks there.
        for name, content in ((_JSON, encoded), (_LABELS, labels)):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
        archive.comment = b"0" * _SEAL_BYTES
    covered = buffer.getvalue()[len(model) : -_SEAL_BYTES]
    return model + covered + hashlib.sha256(covered).hexdigest().encode()


def read_model_file(path: str | os.PathLike[str], given: Optional[Metadata] = None) -> ModelFile:
    """Read a model file and verify every byte of it, without any native code.

    Args:
        path: a `.tflite` or `.onnx` file.
        given: what the user says of a file that edgevision did not write. Refused for a file that speaks for itself.

    Raises:
        DamagedFileError: edgevision wrote the file and its bytes have changed.
        ForeignFileError: edgevision did not write the file and `given` is missing.
        FileError: the file is missing, is no model file, or contradicts `given`.
    """
    path = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise FileError(f"cannot read the model file {path}: {error.strerror}") from error
    format = _format_of(path, content)
    record_and_end = (_tflite_record if format == "tflite" else _onnx_record)(content)
    if record_and_end is None:
        # The writer's mark survives in most damaged copies; none of those may pass as somebody else's file.
        if _JSON.encode() in content or _SEAL.encode() in content:
            raise DamagedFileError(f"{path} was written by edgevision and is damaged; copy or export it again")
        if given is None:
            raise ForeignFileError(
                f"{path} was not written by edgevision, or was cut short: export it again, "
                "or say what it lacks with --labels FILE, --resize MODE and --pixels RANGE"
            )
        sha256 = hashlib.sha256(content).hexdigest()
        return ModelFile(path, format, content, given, sha256, len(content), foreign=True)
    record, model_bytes = record_and_end
    tail = content[model_bytes:-_SEAL_BYTES]
    if hashlib.sha256(tail).hexdigest().encode() != content[-_SEAL_BYTES:]:
        raise DamagedFileError(f"{path} is damaged: its metadata does not match the seal; copy or export it again")
    model = content[:model_bytes]
    digest = hashlib.sha256(model)
    if record["size_bytes"] != len(model) or record["sha256"] != digest.hexdigest():
        raise DamagedFileError(f"{path} is damaged: the model does not match its SHA-256; copy or export it again")
    if given is not None:
        raise FileError(
            f"{path} describes itself; leave out --labels, --resize and --pixels, --color-order and --logits"
        )
    digest.update(content[model_bytes:])
    return ModelFile(path, format, model, Metadata.from_record(record), digest.hexdigest(), len(content))


def _format_of(path: str, content: bytes) -> str:
    if content[4:8] == b"TFL3":
        return "tflite"
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".onnx":
        return "onnx"
    if suffix == ".tflite":
        raise DamagedFileError(
            f"{path} is no TFLite file (no TFL3 mark, {len(content)} bytes); copy or export it again"
        )
    raise FileError(f"{path} is neither a .tflite nor an .onnx file; name one that `edgevision export` wrote")


def _tflite_record(content: bytes) -> Optional[tuple[dict[str, Any], int]]:
    """Return the JSON record and the length of the model part, or None where no archive ends the file."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(content[at : at + size], "little")

    # From the end: its record says where the directory is, whose first entry says where the JSON is, which comes first.
    # Whether that is the archive that `seal` wrote, byte for byte, is for the seal to say.
    end = len(content) - _SEAL_BYTES - _END_BYTES
    if content[end : end + 4] != b"PK\5\6":
        return None
    directory = number(end + 16, 4)
    size, start = number(directory + 24, 4), number(directory + 42, 4)
    name_length, extra_length = number(start + 26, 2), number(start + 28, 2)
    at = start + 30 + name_length + extra_length
    if content[start : start + 4] != b"PK\3\4" or content[start + 30 : at] != _JSON.encode():
        return None
    try:
        record = _parse(content[at : at + size])
    except (ValueError, RecursionError):
        return None
    return None if record is None else (record, start)


def _onnx_record(content: bytes) -> Optional[tuple[dict[str, Any], int]]:
    """Return the JSON record and the length of the model part, or None where the last two fields are not ours."""
    try:
        fields = list(_protobuf_fields(content))
        (_, start, _), (_, seal_start, _) = fields[-2:]
        entry = dict(_onnx_strings(content, *fields[-2]))
        last = dict(_onnx_strings(content, *fields[-1]))
        if entry.get(1) != _JSON.encode() or last.get(1) != _SEAL.encode() or len(last.get(2, b"")) != _SEAL_BYTES:
            return None
        record = _parse(entry[2])
    except (IndexError, ValueError, KeyError, RecursionError):  # the last one from JSON that is nested deeply
        return None
    return None if record is None or not start < seal_start else (record, start)


def _parse(text: bytes) -> Optional[dict[str, Any]]:
    record = json.loads(text)
    keys = {"format", "sha256", "size_bytes"}
    return record if isinstance(record, dict) and keys <= set(record) else None


def _onnx_entry(key: str, value: bytes) -> bytes:
    """Encode one `metadata_props` entry: StringStringEntryProto with key 1 and value 2."""
    name = key.encode()
    body = b"\x0a" + _varint(len(name)) + name + b"\x12" + _varint(len(value)) + value
    return _varint(_METADATA_PROPS) + _varint(len(body)) + body


def _onnx_strings(content: bytes, number: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    if number != _METADATA_PROPS >> 3:
        raise ValueError("not a metadata_props entry")
    _, body = _read_varint(content, start + 1)
    for field, at, stop in _protobuf_fields(content[body:end]):
        _, value = _read_varint(content[body:end], at + 1)
        yield field, content[body + value : body + stop]


def _protobuf_fields(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each top-level field; ValueError or IndexError on anything else.

    Wire types: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        wire = tag & 7
        if wire == 0:
            _, at = _read_varint(message, at)
        elif wire == 1:
            at += 8
        elif wire == 2:
            length, at = _read_varint(message, at)
            at += length
        elif wire == 5:
            at += 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(message):
            raise ValueError("field runs past the end")
        yield tag >> 3, start, at


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

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
from dataclasses import dataclass
from typing import Any, Optional

from ._errors import DamagedFileError, FileError, ForeignFileError
from ._metadata import Metadata
from ._protobuf import Field, encode_field, read_fields

__all__ = ["FORMATS", "ModelFile", "read_model_file", "seal"]

FORMATS = ("tflite", "onnx")

_JSON = "edgevision.json"
_LABELS = "labels.txt"
_SEAL = "edgevision.seal"
_SEAL_BYTES = 64
#: Of a zip archive's end record, before its comment, which is the seal (APPNOTE.TXT 4.3.16).
_END_BYTES = 22
#: The field of onnx.ModelProto (onnx/onnx.proto).
_METADATA_PROPS = 14


@dataclass(frozen=True)
class ModelFile:
    """A verified model file.

    Attributes:
        path: where it came from, as it was given.
        format: `tflite` or `onnx`.
        content: all bytes of the file. Runtimes take them as they are: the model ends before the tail of metadata.
        model_bytes: how many of them, from the first, are the model.
        metadata: what the file says about itself, or what the user said of a foreign one.
        sha256: hash of the whole file.
        foreign: edgevision did not write it, so nothing about its bytes or its input could be verified.
    """

    path: str
    format: str
    content: bytes
    model_bytes: int
    metadata: Metadata
    sha256: str
    foreign: bool = False

    @property
    def model(self) -> bytes:
        """A copy of the model alone, as it was before it was sealed."""
        return self.content[: self.model_bytes]

    @property
    def size_bytes(self) -> int:
        """Length of the whole file."""
        return len(self.content)


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
        return ModelFile(path, format, content, len(content), given, sha256, foreign=True)
    record, model_bytes = record_and_end
    tail = content[model_bytes:]
    if hashlib.sha256(tail[:-_SEAL_BYTES]).hexdigest().encode() != tail[-_SEAL_BYTES:]:
        raise DamagedFileError(f"{path} is damaged: its metadata does not match the seal; copy or export it again")
    digest = hashlib.sha256(memoryview(content)[:model_bytes])
    if record["size_bytes"] != model_bytes or record["sha256"] != digest.hexdigest():
        raise DamagedFileError(f"{path} is damaged: the model does not match its SHA-256; copy or export it again")
    if given is not None:
        raise FileError(
            f"{path} describes itself; leave out --labels, --resize and --pixels, --color-order and --logits"
        )
    digest.update(tail)
    return ModelFile(path, format, content, model_bytes, Metadata.from_record(record), digest.hexdigest())


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
        first, second = list(read_fields(content))[-2:]
        entry, last = _onnx_strings(content, first), _onnx_strings(content, second)
        if entry.get(1) != _JSON.encode() or last.get(1) != _SEAL.encode() or len(last.get(2, b"")) != _SEAL_BYTES:
            return None
        record = _parse(entry[2])
    except (ValueError, KeyError, RecursionError):  # the last one from JSON that is nested deeply
        return None
    return None if record is None else (record, first.start)


def _parse(text: bytes) -> Optional[dict[str, Any]]:
    record = json.loads(text)
    keys = {"format", "sha256", "size_bytes"}
    return record if isinstance(record, dict) and keys <= set(record) else None


def _onnx_entry(key: str, value: bytes) -> bytes:
    """Encode one `metadata_props` entry: StringStringEntryProto with key 1 and value 2."""
    return encode_field(_METADATA_PROPS, encode_field(1, key.encode()) + encode_field(2, value))


def _onnx_strings(content: bytes, entry: Field) -> dict[int, bytes]:
    """Return key (1) and value (2) of a `metadata_props` entry."""
    if entry.number != _METADATA_PROPS:
        raise ValueError("not a metadata_props entry")
    message = content[entry.value : entry.end]
    return {field.number: message[field.value : field.end] for field in read_fields(message)}

"""Reading tensors from PyTorch's old file format with numpy alone, without running what a pickle may ask for."""

from __future__ import annotations

import collections
import math
import os
import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from edgevision_device import FileError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_torch_tensors"]

#: The first pickle of torch.serialization's legacy format (torch/serialization.py, MAGIC_NUMBER).
_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    kind: str
    key: str
    elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorUnpickler(pickle.Unpickler):
    """Builds descriptions of tensors; every global that is none of theirs is refused.

    The descriptions are tuples: what a pickle could still do to an object after it was made, it cannot do to those.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe
        if module == "torch" and name in _STORAGES:
            return name
        raise pickle.UnpicklingError(f"the file asks for {f'{module}.{name}'!r}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _device, elements, view = pid
        if kind != "storage" or view is not None or storage not in _STORAGES or not _is_count(elements):
            raise pickle.UnpicklingError("unknown kind of storage")
        return _Storage(storage, str(key), elements)


def _describe(storage: Any, offset: Any, shape: Any, strides: Any, *_unused: object) -> _Tensor:
    counts = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(map(_is_count, counts)) or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor is badly described")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def read_torch_tensors(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read a state dict that `torch.save` wrote in the format from before PyTorch 1.6.

    Returns:
        tensor by name, in the file's order.

    Raises:
        FileError: the file is missing, in another format, cut short, or asks for anything but tensors.
    """
    try:
        with open(path, "rb") as stream:
            return _read(stream)
    except OSError as error:
        raise FileError(f"cannot read the weights {path}: {error.strerror}") from error
    except Exception as error:  # unpickling what is no pickle raises anything, MemoryError included
        reason = error if isinstance(error, pickle.UnpicklingError) else repr(error)
        raise FileError(f"{path} holds no tensors that can be read: {reason}; give another weights file") from error


def _read(stream: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    magic, _protocol, system = (_TensorUnpickler(stream).load() for _ in range(3))
    if magic != _MAGIC or not system.get("little_endian"):
        raise pickle.UnpicklingError("not PyTorch's legacy little-endian format")
    described = _TensorUnpickler(stream).load()
    if not isinstance(described, dict):
        raise pickle.UnpicklingError("not a state dict")
    tensors = {name: tensor for name, tensor in described.items() if isinstance(tensor, _Tensor)}
    if not tensors or len(tensors) < len(described):
        raise pickle.UnpicklingError("not a state dict")
    wanted = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    file_bytes = os.fstat(stream.fileno()).st_size
    storages: dict[str, npt.NDArray[Any]] = {}
    for key in _TensorUnpickler(stream).load():
        storage = wanted[key]
        dtype = _STORAGES[storage.kind]
        size_bytes = storage.elements * dtype.itemsize
        (elements,) = np.frombuffer(stream.read(8), "<i8")
        content = stream.read(min(size_bytes, file_bytes))
        if elements != storage.elements or len(content) != size_bytes:
            raise pickle.UnpicklingError("cut short")
        storages[key] = np.frombuffer(content, dtype)
    return {str(name): _view(storages[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(storage: npt.NDArray[Any], tensor: _Tensor) -> npt.NDArray[Any]:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    # A stride of 0 would make a huge tensor of a small storage.
    if last >= storage.size or math.prod(tensor.shape) > storage.size:
        raise pickle.UnpicklingError(f"a tensor of shape {tensor.shape} reaches beyond its storage of {storage.size}")
    byte_strides = tuple(stride * storage.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, byte_strides, writeable=False)

"""Reading tensors from PyTorch's old file format with numpy alone, without running what a pickle may ask for."""

from __future__ import annotations

import collections
import io
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

__all__ = ["read_torch_tensors"]

#: The first pickle of torch.serialization's legacy format (torch/serialization.py, MAGIC_NUMBER).
_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "LongStorage": np.dtype("<i8")}


class _TensorUnpickler(pickle.Unpickler):
    """Builds tensors as views of storages that are filled in later; every other global is refused."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        super().__init__(stream)
        self.storages: dict[str, npt.NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:
        kind, dtype, key, _device, elements, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"unknown storage {pid!r}")
        return self.storages.setdefault(str(key), np.zeros(int(elements), dtype))


def _rebuild_tensor(
    storage: npt.NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_unused: object
) -> npt.NDArray[Any]:
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides, offset, 1)) < 0 or last >= storage.size:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} reaches beyond its storage of {storage.size}")
    byte_strides = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, byte_strides)


def read_torch_tensors(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read a state dict that `torch.save` wrote in the format from before PyTorch 1.6.

    Returns:
        tensor by name, in the file's order.

    Raises:
        FileError: the file is missing, in another format, cut short, or asks for anything but tensors.
    """
    try:
        with open(path, "rb") as stream:
            header = [_TensorUnpickler(stream).load() for _ in range(3)]
            if header[0] != _MAGIC or not header[2].get("little_endian"):
                raise pickle.UnpicklingError("not PyTorch's legacy little-endian format")
            unpickler = _TensorUnpickler(stream)
            tensors = unpickler.load()
            for key in _TensorUnpickler(stream).load():
                storage = unpickler.storages[key]
                (elements,) = np.frombuffer(stream.read(8), "<i8")
                content = stream.read(storage.nbytes)
                if elements != storage.size or len(content) != storage.nbytes:
                    raise pickle.UnpicklingError("cut short")
                storage[:] = np.frombuffer(content, storage.dtype)
    except OSError as error:
        raise FileError(f"cannot read the weights {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FileError(f"{path} holds no tensors that can be read: {error}; give another weights file") from error
    return tensors

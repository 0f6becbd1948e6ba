"""What a training runs on, through Keras alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Hardware", "jit_compile", "keras_backend", "use_hardware"]


@dataclass(frozen=True)
class Hardware:
    """What is used.

    Attributes:
        backend: `tensorflow`, `jax` or `torch`.
        devices: such as `gpu:0`.
        precision: of the layers' computations.
        unused: devices that this backend leaves idle.
    """

    backend: str
    devices: tuple[str, ...]
    precision: str
    unused: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line for people."""
        together = ", each with its share of every batch" if len(self.devices) > 1 else ""
        idle = f"; idle: {', '.join(self.unused)} (KERAS_BACKEND=jax uses all)" if self.unused else ""
        return f"training on {', '.join(self.devices)}{together}; {self.backend}, {self.precision}{idle}"


@contextlib.contextmanager
def use_hardware(precision: str) -> Generator[Hardware]:
    """Compute on every accelerator that the backend sees, in this precision, until the block ends."""
    import keras

    backend = keras.backend.backend()
    devices = _devices()
    before = keras.config.dtype_policy()
    with contextlib.ExitStack() as opened:
        opened.callback(keras.config.set_dtype_policy, before)
        keras.config.set_dtype_policy(precision)
        used, unused = devices, ()
        if len(devices) > 1 and backend == "jax":
            opened.enter_context(keras.distribution.DataParallel(devices=list(devices)).scope())
        elif len(devices) > 1:
            # Keras's distribution API has an implementation for JAX only (keras/src/backend/*/distribution_lib.py).
            used, unused = devices[:1], devices[1:]
        yield Hardware(backend, used, precision, unused)


def _devices() -> tuple[str, ...]:
    import keras

    try:
        return tuple(str(device) for device in keras.distribution.list_devices())
    except (AttributeError, NotImplementedError):  # the PyTorch backend has no such list
        variable: Any = keras.Variable(0.0)
        return (str(getattr(variable.value, "device", "cpu")),)


def keras_backend() -> str:
    """Return the backend and the kind of device, on which the last bits of a result depend."""
    import keras

    return f"{keras.backend.backend()} {_devices()[0].partition(':')[0]}"


def jit_compile() -> bool | str:
    """Say whether Keras should compile: XLA on the CPU made the TensorFlow backend 12 times slower."""
    import keras

    on_cpu = all(device.startswith("cpu") for device in _devices())
    return False if keras.backend.backend() == "tensorflow" and on_cpu else "auto"

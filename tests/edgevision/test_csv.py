"""Pictures from a CSV file: what is read, how it is split, and the one line that says what is wrong with a file."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgevision import Splits, load_data
from edgevision._datasets import _csv, held_out_folder, native_size
from edgevision_device import DataError, UsageError, find_labelled, hash_pictures, read_picture

SIDE = 6


def make(count: int, columns: int = SIDE * SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, columns), dtype=np.uint8)


def write(
    path: Path, pixels: np.ndarray, labels: Sequence[object], *, label_at: int = 0, end: str = "\n", quote: str = ""
) -> Path:
    """Write the file as Kaggle's tools do."""
    names = [f"pixel{place}" for place in range(pixels.shape[1])]
    names.insert(label_at, "label")
    lines = [",".join(f"{quote}{name}{quote}" for name in names)]
    for row, label in zip(pixels.tolist(), labels, strict=True):
        cells = [str(value) for value in row]
        cells.insert(label_at, f"{quote}{label}{quote}")
        lines.append(",".join(cells))
    content = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def load(path: Path, size_wh: tuple[int, int] = (SIDE, SIDE), **options: float) -> Splits:
    return load_data(path, size_wh, "stretch", **options)


def by_line(splits: Splits) -> dict[int, tuple[str, np.ndarray]]:
    """Return label and pixels by line number."""
    return {
        int(name.split(":")[1]): (part.labels[part.targets[place]], part.pixels(slice(place, place + 1))[0])
        for part in (splits.train, splits.val, splits.test)
        for place, name in enumerate(part.names)
    }


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as raised:
        load(path)
    assert "\n" not in str(raised.value)
    return str(raised.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param("a.csv", {}, id="as Kaggle writes it"),
        pytest.param("a.CSV", {"label_at": SIDE * SIDE}, id="label last"),
        pytest.param("a.csv", {"label_at": 5}, id="label between"),
        pytest.param("a.csv.gz", {}, id="gzip"),
        pytest.param("a.csv", {"end": "\r\n"}, id="Windows"),
        pytest.param("a.csv", {"end": "\r\n", "label_at": SIDE * SIDE}, id="Windows, label last"),
        pytest.param("a.csv", {"quote": '"'}, id="quoted, as R writes it"),
        pytest.param("a.csv", {"end": "\n\n"}, id="empty lines"),
    ],
)
def test_every_pixel_and_label_arrives(own_cache: Path, tmp_path: Path, name: str, how: dict[str, object]) -> None:
    pixels, labels = make(30), [("ant", "bee, large" if how.get("quote") else "bee")[place % 2] for place in range(30)]
    splits = load(write(tmp_path / name, pixels, labels, **how))
    assert splits.labels == tuple(sorted(set(labels)))
    found = by_line(splits)
    step = 2 if how.get("end") == "\n\n" else 1
    assert sorted(found) == list(range(1 + step, 1 + 31 * step, step))
    for place in range(30):
        label, picture = found[1 + step * (place + 1)]
        assert label == labels[place]
        assert np.array_equal(picture, np.repeat(pixels[place].reshape(SIDE, SIDE, 1), 3, 2))


def test_a_byte_order_mark_and_spaces_do_no_harm(own_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f" a {place % 2} , {place}, {place + 1},0 , 007\n" for place in range(9))
    path.write_bytes(b"\xef\xbb\xbf" + f" Label , p0,p1,p2,p3\n{rows}".encode())
    splits = load(path, (2, 2))
    assert splits.labels == ("a 0", "a 1")
    assert by_line(splits)[6][1][..., 0].tolist() == [[4, 5], [0, 7]]


def test_color_is_three_values_per_pixel(own_cache: Path, tmp_path: Path) -> None:
    pixels = make(20, 4 * 4 * 3)
    path = write(tmp_path / "a.csv", pixels, np.arange(20) % 2)
    assert native_size(path) == (4, 4)
    found = by_line(load(path, (4, 4)))
    assert np.array_equal(found[2][1], pixels[0].reshape(4, 4, 3))


def test_the_size_is_in_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    path.write_text("label," + ",".join(f"{row}x{column}" for row in range(28) for column in range(28)) + "\n")
    assert native_size(path) == native_size(str(path)) == (28, 28)
    with pytest.raises(DataError, match="no such file: "):
        native_size(tmp_path / "absent.csv")


def test_numbers_are_sorted_by_value_and_words_as_words(own_cache: Path, tmp_path: Path) -> None:
    for name, labels in (("numbers", ("2", "9", "10")), ("words", ("10", "9", "b"))):
        splits = load(write(tmp_path / f"{name}.csv", make(12), labels * 4))
        assert splits.labels == labels


def test_the_split_goes_by_content(own_cache: Path, tmp_path: Path) -> None:
    pixels, labels = make(400), np.arange(400) % 2
    splits = load(write(tmp_path / "a.csv", pixels, labels))
    held = [len(splits.val), len(splits.test)]
    assert all(20 < count < 65 for count in held)
    turned = load(write(tmp_path / "b.csv", pixels[::-1], labels[::-1]))
    for part in ("train", "val", "test"):
        assert set(getattr(splits, part).hashes) == set(getattr(turned, part).hashes)
    assert splits.train.origin.sha256 == turned.train.origin.sha256
    assert (splits.train.origin.name, turned.train.origin.name) == ("a.csv", "b.csv")
    third = load(tmp_path / "a.csv", validation_split=1 / 3)
    assert third.test.names == splits.test.names
    assert len(third.val) == pytest.approx((len(third.train) + len(third.val)) / 3, abs=1)


def test_hashes_are_those_of_the_files_written(own_cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", make(60), np.arange(60) % 2)
    test = load(path, (12, 9)).test
    folder = held_out_folder(path)
    found = find_labelled(folder / "test")
    pairs = [(each.label, hashlib.sha256(each.path.read_bytes()).hexdigest()) for each in found]
    assert hash_pictures(pairs) == test.origin.sha256
    assert read_picture(found[0].path).shape == (SIDE, SIDE, 3)
    # The same name with other pictures is another folder.
    assert held_out_folder(write(path, make(60)[::2], np.arange(30) % 2)) != folder


def test_a_file_is_parsed_once(own_cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", make(30), np.arange(30) % 2)
    load(path)
    kept = {file: file.stat().st_mtime_ns for file in own_cache.rglob("*") if file.is_file()}
    copy = tmp_path / "copy.csv"
    path.rename(copy)
    splits = load(copy)
    assert splits.train.names[0].startswith("copy.csv:")
    assert {file: file.stat().st_mtime_ns for file in own_cache.rglob("*") if file.is_file()} == kept
    changed = copy.read_text().replace("\n0,", "\n7,")
    copy.write_text(changed)
    assert load(copy).labels == ("1", "7")


def test_memory_stays_flat(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 1 << 16)
    path = write(tmp_path / "a.csv", make(2000, 16 * 16), np.arange(2000) % 2)
    layout = _csv._Layout(("label", *(f"pixel{place}" for place in range(256))), 0, 16, 1)
    tracemalloc.start()
    parsed = [(rows[0].number, values[0].copy()) for rows, values in _csv._parse(path, layout)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 1_500_000
    assert peak < 600_000
    assert len(parsed) > 20
    pixels = make(2000, 16 * 16)
    assert all(np.array_equal(first, pixels[number - 2]) for number, first in parsed)


GOOD = "7,1,2,3,4\n8,5,6,7,8\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", " is empty; expected a line of names, label,pixel0,", id="empty"),
        pytest.param("label,a,b,c,d\n", " holds no picture; expected a line of names", id="header only"),
        pytest.param("a,b,c,d\n1,2,3,4\n", " has no column 'label', so that nothing says what", id="Kaggle's test.csv"),
        pytest.param("7,1,2,3,4\n", " has no line of names; add label,pixel0,pixel1,… as its first", id="no header"),
        pytest.param("label,a,label,b,c,d\n", " has 2 columns 'label'; it has 6 columns, label, a, label, …", id="two"),
        pytest.param("label,a,b,c\n", " has 3 columns beside 'label', which make no square p", id="no square"),
        pytest.param("label\n1\n", " has 0 columns beside 'label', which make no square picture", id="no pixels"),
        pytest.param("label,p1,p10,p2,p3\n", " has its pixels out of order: p2 comes after p10", id="sorted by name"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2,256,4\n", ", line 4, column c: expected a whole number fr", id="256"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,-2,3,4\n", ", line 4, column b: expected a whole number f", id="-2"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2.0,3,4\n", "from 0 to 255, got '2.0'", id="2.0"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,,3,4\n", "from 0 to 255, got ''", id="nothing"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2,3,٤\n", "from 0 to 255, got '٤'", id="Arabic"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2,3,{'9' * 99}\n", f"got '{'9' * 20}'", id="many digits"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2,3\n", ", line 4: 4 columns, where the first line names 5", id="few"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7,1,2,3,4,5\n", ", line 4: 6 columns, where the first line", id="many"),
        pytest.param("label,a,b,c,d\n7,1,2,3\n8,1,2,3\n", ", line 2: 4 columns, where the fi", id="few everywhere"),
        pytest.param(f"label,a,b,c,d\n{GOOD}7\n", ", line 4: 2 columns, where the first line", id="a label only"),
        pytest.param(f"a,label,b,c,d\n{GOOD}7\n", ", line 4: 1 columns, where the first line", id="label between"),
        pytest.param(f"label,a,b,c,d\n\n{GOOD} ,1,2,3,4\n", ", line 5: the label is empty", id="no label"),
        pytest.param(f'label,a,b,c,d\n{GOOD}"7,1,2,3,4\n', ", line 4: 1 columns, where the first", id="open quote"),
        pytest.param(f"label,a,b,c,d\n{GOOD}a/b,1,2,3,4\n", ", line 4: the label 'a/b' cannot name a fol", id="slash"),
        pytest.param(f"label,a,b,c,d\n{GOOD}..,1,2,3,4\n", ", line 4: the label '..' cannot name a folder", id="dot"),
        pytest.param("label,a,b,c,d\n7,1,2,3,4\n", " holds one label only, '7'; a classifier needs at le", id="one"),
        pytest.param(
            f"label,a,b,c,d\n{GOOD}", "label '7' has too few different pictures, 1; a split into train", id="too few"
        ),
        pytest.param(b"label,a,b,c,d\n" + GOOD.encode() + b"\xff,1,2,3,4\n", ", line 4: no UTF-8 (", id="Latin-1"),
        pytest.param(b"PK\x03\x04\x14\xff\xfe", " is no CSV file in UTF-8 (", id="zip"),
        pytest.param(gzip.compress(b"label,a,b,c,d\n" * 9)[:-12], "cannot read ", id="gzip cut short"),
        pytest.param(b"\x1f\x8bno gzip", "cannot read ", id="gzip damaged"),
    ],
)
def test_a_bad_file_is_one_line(own_cache: Path, tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refusal(path)
    assert not [file for file in own_cache.rglob(".*") if file.is_file()], "no temporary file stays"


def test_bad_lines_are_counted_across_blocks(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 50)
    path = tmp_path / "a.csv"
    path.write_text("label,a,b,c,d\n" + GOOD * 50 + "9,1,2,3,4,\n" + GOOD)
    assert refusal(path) == ", line 102: 6 columns, where the first line names 5"
    path.write_text("label,a,b,c,d\n" + GOOD * 50 + "\n\n9,1,2,3,4444")
    assert refusal(path) == ", line 104, column d: expected a whole number from 0 to 255, got '4444'"


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.csv") == f"no such file: {tmp_path / 'absent.csv'}"
    with pytest.raises(UsageError, match=r"nor a folder nor a \.csv file"):
        load_data("train.tsv", (6, 6), "stretch")


def test_a_folder_may_be_called_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    assert native_size(tmp_path / "x.csv") is None
    assert "holds no folders; expected" in refusal(tmp_path / "x.csv")

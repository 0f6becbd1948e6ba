"""A file is not judged by pictures that it has seen, whatever they are called now."""

import hashlib
import shutil

import numpy as np
import pytest

from edgevision_benchmarks import benchmark, seen_pictures
from edgevision_device import (
    DataError,
    DataOrigin,
    find_labelled,
    hash_pictures,
    mark_pictures,
    read_model_file,
    split_by_content,
)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def origin_of(paths, name="seen", most=64):
    """Return what an export says of these pictures."""
    digests = [digest(path) for path in paths]
    pairs = [(path.parent.name, each) for path, each in zip(paths, digests)]
    return DataOrigin(name, hash_pictures(pairs), len(pairs), mark_pictures(digests, most))


@pytest.fixture
def many(tmp_path):
    """Return a folder of 160 pictures in the model's four colors, no two alike."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    generator = np.random.default_rng(0)
    folder = tmp_path / "many"
    for label, bgr in {"red": (20, 20, 200), "green": (20, 200, 20), "blue": (200, 20, 20), "dark": (5, 5, 5)}.items():
        (folder / label).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(np.array(bgr) + generator.integers(-5, 6, (7, 10, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{number:02d}.png"), pixels)
    return folder


def parts_of(folder):
    """Return the pictures of each part of the split by content."""
    found = find_labelled(folder)
    parts = split_by_content([each.label for each in found], [digest(each.path) for each in found])
    return {name: [each.path for each, part in zip(found, parts) if part == name] for name in ("train", "val", "test")}


def measured(files, folder, **options):
    return benchmark(files, folder, runs=1, warmup=0, **options)


@pytest.mark.parametrize(("origin", "verb"), [("trained_on", "trained"), ("calibrated_on", "calibrated")])
def test_a_picture_that_was_seen_is_named_and_refused(model, pictures, tmp_path, origin, verb):
    folder = pictures()
    shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "blue" / "1.png").rename(tmp_path / "elsewhere" / "red" / "new name.png")
    others = [tmp_path / f"other{number}.bin" for number in range(9)]
    for number, path in enumerate(others):
        path.write_bytes(bytes([number]))
    seen = [folder / "blue" / "1.png", folder / "green" / "2.png"]
    clean, leaky = model("clean.tflite"), model("leaky.tflite", **{origin: origin_of([*seen, *others])})
    with pytest.raises(DataError) as raised:
        measured([clean, leaky], tmp_path / "elsewhere")
    message = str(raised.value)
    # Neither the name nor the label matters, only what is in the file.
    assert message == (
        f"leaky.tflite was {verb} on 2 of these 13 pictures: green/2.png, red/new name.png; its top-1 on them says "
        "nothing about new ones: take other pictures, or --whole to measure on them all the same"
    )
    whole = measured([clean, leaky], tmp_path / "elsewhere", whole=True)
    assert whole.pictures.count == 13
    assert whole.files[0].warnings == ()
    assert whole.files[1].warnings == (
        f"it was {verb} on 2 or more of these 13 pictures (seen): its top-1 says less about new ones",
    )


def test_many_seen_pictures_are_named_by_three(model, many, tmp_path):
    seen = sorted((many / "red").iterdir())[:5]
    others = [tmp_path / f"other{number}.bin" for number in range(9)]
    for number, path in enumerate(others):
        path.write_bytes(bytes([number]))
    path = model(calibrated_on=origin_of([*seen, *others]))
    with pytest.raises(DataError, match=r"on 5 of these 160 pictures: red/00\.png, red/01\.png, red/02\.png, …;"):
        measured([path], many)


@pytest.mark.parametrize("change", ["renamed", "pictures gone", "pictures added"])
def test_a_training_folder_is_known_again(model, many, change):
    parts = parts_of(many)
    # A validation split takes pictures out of train that the split without one would leave there.
    trained = [path for number, path in enumerate(sorted(parts["train"] + parts["val"])) if number % 3]
    origin = origin_of(trained, "many")
    renamed = many.rename(many.parent / "photos of the summer")
    if change == "pictures gone":
        for path in [*sorted((renamed / "red").iterdir())[:8], *sorted((renamed / "dark").iterdir())[-8:]]:
            path.unlink()
    if change == "pictures added":
        for label in ("red", "blue"):
            for number in range(20):
                (renamed / label / f"new{number}.pgm").write_bytes(b"P5 1 1 255 " + bytes([number]))
    report = measured([model(trained_on=origin)], renamed)
    assert report.pictures.split == "test"
    assert report.pictures.count == len(parts_of(renamed)["test"])
    assert report.files[0].warnings == ()
    assert measured([model("b.tflite", trained_on=origin)], renamed, whole=True).pictures.split is None


def test_a_folder_that_calibrated_a_file_is_measured_on_its_test_part(model, many):
    parts = parts_of(many)
    origin = origin_of(parts["train"][::3], "anything", most=1000)
    report = measured([model(calibrated_on=origin)], many)
    assert (report.pictures.split, report.pictures.count) == ("test", len(parts["test"]))


def test_a_folder_of_the_same_name_is_not_taken_for_another(model, many, tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"x")
    marked = model("marked.tflite", trained_on=origin_of([other], "many"))
    assert measured([marked], many).pictures.split is None
    # A file from before there were marks says no more than a name.
    old = model("old.tflite", trained_on=DataOrigin("many", "00" * 32, 100))
    assert measured([old], many).pictures.split == "test"


def test_pictures_that_fitted_confidence_are_known_and_judge_top1_all_the_same(model, pictures):
    folder = pictures()
    paths = [each.path for each in find_labelled(folder)]
    path = model(fitted_on=origin_of(paths[:2]))
    seen = seen_pictures(read_model_file(path).metadata, [digest(each) for each in paths])
    assert seen == {"fitted": [0, 1]}
    assert measured([path], folder).pictures.count == len(paths)

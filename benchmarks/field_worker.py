"""One participant of field.py, in a process and an environment of its own: needs numpy, what it measures and OpenCV.

Its argument is JSON, see `field_peers.Request`. It prints a line of JSON once it is ready, with its versions and the
labels that it gives; then it reads lines such as `["frame", 50]` and `["bare", 50]`, runs that often and answers with
the times. Whatever runtimes print themselves goes to stderr.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np

#: Runs before those that count: the others had the caches.
WARM = 5


# What a class of this one overrides is described there, once: hence D102 below.
# ruff: noqa: D102
class Peer:
    """A participant: what it says of one frame, and one run on an input that is set already; None where it has none."""

    #: Distributions whose versions the table names.
    packages: tuple[str, ...] = ()
    bare: Optional[Callable[[], Any]] = None

    def frames(self, count: int) -> Iterator[str]:
        """Classify the frames, again and again; yield the best label of each."""
        raise NotImplementedError

    def label_input(self, pixels_nhwc: np.ndarray) -> Optional[str]:
        """Return the best label of a model input; None where it gives no scores."""
        return None


class Scripted(Peer):
    """What people write by hand: OpenCV crops, resizes and changes the order of colors, the runtime does the rest."""

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        import cv2

        self.cv2, self.labels, self.size_wh = cv2, asked["labels"], tuple(asked["size_wh"])
        self.pictures = pictures["bgr"]
        height, width = self.pictures.shape[1:3]
        self.part = middle(width, height, self.size_wh) if asked["resize"] == "crop" else (0, 0, width, height)

    def scores(self, pixels_nhwc: np.ndarray) -> np.ndarray:
        """Return the scores of all labels."""
        raise NotImplementedError

    def frames(self, count: int) -> Iterator[str]:
        left, top, right, bottom = self.part
        for picture in itertools.islice(itertools.cycle(self.pictures), count):
            resized = self.cv2.resize(picture[top:bottom, left:right], self.size_wh)
            rgb = self.cv2.cvtColor(resized, self.cv2.COLOR_BGR2RGB)
            yield self.label_input(rgb[np.newaxis])

    def label_input(self, pixels_nhwc: np.ndarray) -> str:
        return self.labels[int(np.argmax(self.scores(pixels_nhwc)))]


class Ours(Peer):
    """The frame loop, and the `invoke()` of the interpreter that it runs."""

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        from edgevision_device import Classifier

        self.packages = ("edgevision-device", "ai-edge-litert" if asked["model"].endswith("tflite") else "onnxruntime")
        self.classifier = Classifier(asked["model"], threads=asked["threads"])
        self.pictures = list(pictures["bgr"])
        self.label_input(pictures["input"][:1])
        interpreter = getattr(self.classifier.runtime, "_interpreter", None)
        fixed = pictures["input"][:1]
        self.bare = interpreter.invoke if interpreter is not None else lambda: self.classifier.runtime.run(fixed)

    def frames(self, count: int) -> Iterator[str]:
        from edgevision_device import ArraySource, stream

        source = ArraySource(self.pictures, "bgr", repeat=count // len(self.pictures) + 1)
        for result in stream(self.classifier, source, frames=count):
            yield result.labels[int(result.scores.argmax())]

    def label_input(self, pixels_nhwc: np.ndarray) -> str:
        return self.classifier.metadata.labels[int(self.classifier.run(pixels_nhwc).argmax())]


class Script(Scripted):
    """The usual script: pixels become floats in numpy, are normalized there, and go in by `set_tensor`."""

    packages = ("ai-edge-litert",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        super().__init__(asked, pictures)
        from ai_edge_litert.interpreter import Interpreter

        self.mean, self.std = np.float32(asked["mean"]), np.float32(asked["std"])
        self.interpreter = Interpreter(asked["model"], num_threads=asked["threads"])
        self.interpreter.allocate_tensors()
        (self.given,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def scores(self, pixels_nhwc: np.ndarray) -> np.ndarray:
        values = (pixels_nhwc.astype(np.float32) - self.mean) / self.std
        if self.given["dtype"] != np.float32:
            scale, zero_point = self.given["quantization"]
            values = np.round(values / scale + zero_point).astype(self.given["dtype"])
        self.interpreter.set_tensor(self.given["index"], values)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])[0]


class MediaPipe(Peer):
    """MediaPipe Tasks' ImageClassifier in VIDEO mode, on the part of the frame that the file is made for."""

    packages = ("mediapipe",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        import cv2
        import mediapipe as mp
        from mediapipe.tasks.python import BaseOptions, vision
        from mediapipe.tasks.python.components.containers.rect import RectF
        from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions

        self.cv2, self.mp, self.stamp_ms = cv2, mp, 0
        self.pictures = pictures["bgr"]
        height, width = self.pictures.shape[1:3]
        self.options = None
        if asked["resize"] == "crop":
            left, top, right, bottom = middle(width, height, asked["size_wh"])
            region = RectF(left=left / width, top=top / height, right=right / width, bottom=bottom / height)
            self.options = ImageProcessingOptions(region_of_interest=region)
        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_path=asked["model"]),
            running_mode=vision.RunningMode.VIDEO,
            max_results=1,
        )
        self.classifier = vision.ImageClassifier.create_from_options(options)

    def frames(self, count: int) -> Iterator[str]:
        for picture in itertools.islice(itertools.cycle(self.pictures), count):
            self.stamp_ms += 33
            rgb = self.cv2.cvtColor(picture, self.cv2.COLOR_BGR2RGB)
            image = self.mp.Image(image_format=self.mp.ImageFormat.SRGB, data=rgb)
            found = self.classifier.classify_for_video(image, self.stamp_ms, self.options)
            yield found.classifications[0].categories[0].category_name


class LiteRTTool(Peer):
    """LiteRT's own benchmark tool, started anew for each turn as a user starts it; it makes up its input."""

    packages = ("ai-edge-litert",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        self.line = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model"]
        self.line += ["--model", asked["model"], "--num_threads", str(asked["threads"])]
        self.times(1)

    def times(self, count: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result.json")
            numbers = ["--num_runs", str(count), "--warmup_runs", str(WARM), "--result_json", path]
            done = subprocess.run([*self.line, *numbers], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-1000:])
            with open(path, encoding="utf-8") as file:
                latency = json.load(file)["latency"]
        # It rounds to hundredths of a millisecond, a small network's to 0.
        mean_ms, p50_ms = (max(0.005, latency[name]) for name in ("avg_ms", "median_ms"))
        return {"mean_ms": mean_ms, "p50_ms": p50_ms, "cpu_ms": None}


class OnnxRuntime(Scripted):
    """ONNX Runtime on the CPU."""

    packages = ("onnxruntime",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        super().__init__(asked, pictures)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = asked["threads"]
        options.inter_op_num_threads = 1
        cpuinfo = Path("/proc/cpuinfo").read_text()
        if platform.machine() == "x86_64" and "avx512_vnni" not in cpuinfo and "avx_vnni" not in cpuinfo:
            # Else int8 sums overflow: faster, and wrong. `edgevision_device.onnx_session_options` does the same.
            options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(asked["model"], options, providers=["CPUExecutionProvider"])
        name, fixed = self.session.get_inputs()[0].name, pictures["input"][:1]
        self.scores = lambda pixels_nhwc: self.session.run(None, {name: pixels_nhwc})[0]
        self.bare = lambda: self.session.run(None, {name: fixed})


class OpenVino(Scripted):
    """OpenVINO on the CPU, set to answer single pictures soon."""

    packages = ("openvino",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        super().__init__(asked, pictures)
        import openvino

        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": asked["threads"], "NUM_STREAMS": 1}
        # Where the processor has bfloat16, it would compute in that.
        hints["INFERENCE_PRECISION_HINT"] = "f32"
        self.request = core.compile_model(core.read_model(asked["model"]), "CPU", hints).create_infer_request()
        self.scores(pictures["input"][:1])
        self.bare = self.request.infer

    def scores(self, pixels_nhwc: np.ndarray) -> np.ndarray:
        self.request.set_input_tensor(self.tensor(pixels_nhwc))
        self.request.infer()
        return self.request.get_output_tensor().data

    def tensor(self, pixels_nhwc: np.ndarray) -> Any:
        import openvino

        self.pixels = np.ascontiguousarray(pixels_nhwc)  # held: the tensor does not copy
        return openvino.Tensor(self.pixels, shared_memory=True)


class OpenCv(Scripted):
    """OpenCV's dnn, which reads float ONNX."""

    packages = ("opencv-python-headless",)

    def __init__(self, asked: dict[str, Any], pictures: dict[str, np.ndarray]) -> None:
        super().__init__(asked, pictures)
        self.cv2.setNumThreads(asked["threads"])
        self.net = self.cv2.dnn.readNetFromONNX(asked["model"])
        fixed = pictures["input"][:1]
        self.bare = lambda: self.scores(fixed)

    def scores(self, pixels_nhwc: np.ndarray) -> np.ndarray:
        self.net.setInput(pixels_nhwc)
        return self.net.forward()


PEERS: dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], Peer]] = {
    "ours": Ours,
    "script": Script,
    "mediapipe": MediaPipe,
    "litert-tool": LiteRTTool,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "opencv": OpenCv,
}


def middle(width: int, height: int, size_wh: Any) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the middle part with the proportions of the input.

    >>> middle(640, 480, (224, 224))
    (80, 0, 560, 480)
    """
    scale = min(width / size_wh[0], height / size_wh[1])
    part_w, part_h = round(size_wh[0] * scale), round(size_wh[1] * scale)
    left, top = (width - part_w) // 2, (height - part_h) // 2
    return left, top, left + part_w, top + part_h


def measure(steps: Iterator[Any], count: int) -> dict[str, Any]:
    """Time `count` steps after the first `WARM`: mean and median in milliseconds, and processor time."""
    for _ in itertools.islice(steps, WARM):
        pass
    times_ms: list[float] = []
    cpu_s, before = time.process_time(), time.perf_counter()
    for _ in steps:
        now = time.perf_counter()
        times_ms.append(1e3 * (now - before))
        before = now
    cpu_ms = 1e3 * (time.process_time() - cpu_s) / count
    return {"mean_ms": statistics.mean(times_ms), "p50_ms": statistics.median(times_ms), "cpu_ms": cpu_ms}


def repeat(run: Callable[[], Any], count: int) -> Iterator[None]:
    """Run so often, and yield after each."""
    for _ in range(count):
        run()
        yield


def answer(peer: Peer, group: str, count: int) -> dict[str, Any]:
    """Run what a line asks for."""
    if isinstance(peer, LiteRTTool):
        return peer.times(count)
    steps = peer.frames(WARM + count) if group == "frame" else repeat(peer.bare, WARM + count)
    return measure(steps, count)


def main() -> None:
    """Get ready, say so, and serve until stdin ends."""
    # Native libraries write to file descriptor 1 as well.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(sys.argv[1])
    pictures = dict(np.load(asked["pictures"]))
    peer = PEERS[asked["peer"]](asked, pictures)
    has_frames = type(peer).frames is not Peer.frames
    ready = {
        "versions": {name: importlib.metadata.version(name) for name in peer.packages},
        "groups": ["frame"] * has_frames + ["bare"] * (peer.bare is not None or isinstance(peer, LiteRTTool)),
        "frame_labels": list(peer.frames(len(pictures["bgr"]))) if has_frames else None,
        "bare_labels": [peer.label_input(pixels[np.newaxis]) for pixels in pictures["input"]],
    }
    print(json.dumps(ready), file=out, flush=True)
    for line in sys.stdin:
        began = os.times()
        result = answer(peer, *json.loads(line))
        ended = os.times()
        # Of the whole turn, children too: the rest of what the machine did was others.
        result["own_s"] = sum(after - before for before, after in zip(began[:4], ended[:4]))
        print(json.dumps(result), file=out, flush=True)


if __name__ == "__main__":
    main()

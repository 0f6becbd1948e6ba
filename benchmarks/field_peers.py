"""Who takes part in field.py: what each needs, the file that it gets, and its process."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from environments import EnvironmentMissing, make_environment
from field_files import Files, NoFile

WORKER = Path(__file__).with_name("field_worker.py")


@dataclass(frozen=True)
class Peer:
    """A participant.

    Attributes:
        name: for the option `--peers` and the key in JSON.
        title: what the table calls it.
        worker: name of its class in field_worker.py, see `PEERS` there.
        form: the file it gets, see `Files.path`.
        environment: of `.venvs/`; None if it runs where this program does.
        packages: what that has, with versions; a bare name has the version that is installed here.
        groups: what of it is measured.
        most_threads: None if there is no limit.
    """

    name: str
    title: str
    worker: str
    form: str
    environment: Optional[str] = None
    packages: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("frame", "bare")
    most_threads: Optional[int] = None

    def requirements(self) -> list[str]:
        """Return `packages` with versions."""
        return [name if "==" in name else f"{name}=={importlib.metadata.version(name)}" for name in self.packages]


LITERT = ("field-litert", ("ai-edge-litert", "opencv-python-headless", "numpy"))
OPENVINO = ("field-openvino", ("openvino==2026.4.1", "opencv-python-headless", "numpy"))
ONNXRUNTIME = ("field-onnxruntime", ("onnxruntime", "opencv-python-headless", "numpy"))
OPENCV = ("field-opencv", ("opencv-python-headless", "numpy"))

#: The first is what the ratios refer to. The second is the same again: what differs between those two is noise.
PEERS = (
    Peer("ours", "edgevision", "ours", "tflite"),
    Peer("again", "edgevision, the same again", "ours", "tflite"),
    Peer("mediapipe", "MediaPipe Tasks", "mediapipe", "tflite", "mediapipe", ("mediapipe==1.2.2",), ("frame",), 1),
    Peer("script", "hand-written script", "script", "script", *LITERT, groups=("frame",)),
    Peer("litert-tool", "benchmark_litert_model.py", "litert-tool", "tflite", *LITERT, groups=("bare",)),
    Peer("onnxruntime", "ONNX Runtime", "onnxruntime", "onnx", *ONNXRUNTIME),
    Peer("openvino", "OpenVINO, .tflite", "openvino", "tflite", *OPENVINO),
    Peer("openvino-onnx", "OpenVINO, .onnx", "openvino", "onnx", *OPENVINO),
    Peer("opencv", "OpenCV dnn", "opencv", "float-onnx", *OPENCV),
)


class PeerFailed(Exception):
    """A participant does not take part, or no longer; the message says why."""


class Process:
    """A participant's process, from when it is ready."""

    def __init__(self, peer: Peer, files: Files, pictures: Path, threads: int, installed: bool) -> None:
        if peer.most_threads is not None and threads > peer.most_threads:
            raise PeerFailed(f"has no option for threads: measure with --threads {peer.most_threads}")
        try:
            path, mean, std = files.path(peer.form)
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            python = sys.executable
            if peer.environment is not None and not installed:
                python = str(make_environment(peer.environment, version, peer.requirements()))
        except (NoFile, EnvironmentMissing, importlib.metadata.PackageNotFoundError) as error:
            raise PeerFailed(str(error)) from error
        request = {
            "peer": peer.worker,
            "model": str(path),
            "pictures": str(pictures),
            "threads": threads,
            "labels": files.metadata.labels,
            "size_wh": files.metadata.size_wh,
            "resize": files.metadata.resize,
            "mean": mean,
            "std": std,
        }
        self._errors = (files.folder / f"{peer.name}.txt").open("w+")
        self._child = subprocess.Popen(
            [python, str(WORKER), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.ready = self._read()
        except PeerFailed:
            self.close()
            raise

    def run(self, group: str, count: int) -> dict[str, Any]:
        """Run so often; return `Turn`'s fields, and `own_s`, the processor time of all of it."""
        assert self._child.stdin is not None
        # Where it has ended, reading says why.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps([group, count]) + "\n")
            self._child.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self._child.wait(30)
            self._errors.seek(0)
            said = [each.strip() for each in self._errors.read().splitlines() if each.strip()]
            # Native libraries may write more after the exception.
            told = [each for each in said if re.match(r"[\w.]*(Error|Exception)\b", each)] or said
            raise PeerFailed(told[-1][:200] if told else f"ended with status {self._child.returncode}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        # What the process did not read before it ended is written again.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._errors.close()


@dataclass(frozen=True)
class Turn:
    """What one turn took, in milliseconds a frame or run; `cpu_ms` of all its threads, None where it is not known."""

    mean_ms: float
    p50_ms: float
    cpu_ms: Optional[float]

    @staticmethod
    def of(answer: dict[str, Any]) -> Turn:
        """Take from an answer what a turn keeps."""
        return Turn(**{field.name: answer[field.name] for field in dataclasses.fields(Turn)})

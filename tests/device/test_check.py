"""`edgevision-device check`: real processes, a made-up machine."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
from pathlib import Path
from typing import Callable

import pytest

import edgevision_device
from edgevision_device import DataOrigin, Finding, check_file, check_machine, check_packages, read_model_file

PACKAGE = Path(edgevision_device.__file__).parent
RUNTIMES = ("litert", "tflite-runtime", "onnxruntime")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a package that does something else before the real one, for child processes."""
    folder = tmp_path / "shadows"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(module: str, program: str) -> None:
        package = folder / module
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(program if module in ("cv2", "onnxruntime") else "")
        (package / "interpreter.py").write_text(program)

    return put


@pytest.fixture
def nothing_works(shadow: Callable[[str, str], None]) -> None:
    for module in ("cv2", "ai_edge_litert", "tflite_runtime", "onnxruntime"):
        shadow(module, "raise ImportError('wrong glibc')\n")


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Raspberry Pi that is hot, saves power and has little memory, a USB camera and a CSI camera."""
    root = tmp_path / "board"
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    write(root, "sys/class/thermal/thermal_zone0/temp", "82345\n")
    write(root, "proc/meminfo", "MemTotal: 498000 kB\nMemAvailable: 61440 kB\n")
    for node, name in (("video0", "unicam-image"), ("video2", "HD Webcam")):
        write(root, f"dev/{node}", "")
        write(root, f"sys/class/video4linux/{node}/name", name)
    return root


@pytest.fixture
def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def answer(text: str) -> None:
        program = tmp_path / "bin/vcgencmd"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    return answer


def test_the_command_says_line_by_line_what_there_is(command: Command) -> None:
    done = command("check")
    lines = done.stdout.splitlines()
    assert all(line[:6] in ("OK    ", "NOTE  ", "WARN  ", "FAIL  ", "      ") for line in lines)
    assert done.returncode == int(any(line.startswith("FAIL") for line in lines))
    named = {line.split()[1].rstrip(":") for line in lines if not line.startswith(" ")}
    assert {"python", "opencv", *RUNTIMES, "camera", "cpu", "disk"} <= named


def test_json_has_the_same_findings(command: Command, require: Callable[[str], None], cv2: object) -> None:
    require("tflite")
    done = command("check", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert all(list(record) == ["name", "level", "found", "mend"] for record in records)
    usable = [record for record in records if record["name"] in RUNTIMES and record["found"].endswith("runs a model")]
    assert usable
    assert all(record["level"] == "ok" for record in usable)


def test_what_troubles_a_board_is_named_with_its_remedy(board: Path) -> None:
    findings = check_machine(board)
    troubles = {
        (finding.name, finding.found): finding.mend
        for finding in findings
        if finding.level == "warn" and finding.name in ("camera", "cpu", "temperature", "memory")
    }
    assert ("memory", "60 MB free") in troubles
    assert ("temperature", "82 °C") in troubles
    (governor,) = (mend for (name, _), mend in troubles.items() if name == "cpu")
    assert "scaling_governor" in str(governor)
    assert Finding("camera", "ok", "/dev/video2: HD Webcam") in findings


@pytest.mark.parametrize(
    ("program", "level", "found", "mend"),
    [
        (None, "warn", "not installed in this Python", "sudo apt install python3-picamera2"),
        ("raise ImportError('No module named libcamera')", "warn", "unusable", "--system-site-packages"),
        ("import os; os.abort()", "warn", "unusable", "died of SIGABRT"),
        ("class Picamera2:\n    global_camera_info = lambda: []", "warn", "unusable", "libcamera finds no camera"),
        (
            "class Picamera2:\n    global_camera_info = lambda: [{'Model': 'imx219', 'Num': 0}]",
            "ok",
            "0 (imx219): --source picamera://0",
            None,
        ),
    ],
)
def test_a_csi_camera_is_tried(
    board: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str | None,
    level: str,
    found: str,
    mend: str | None,
) -> None:
    write(board, "dev/video1", "")
    write(board, "sys/class/video4linux/video1/name", "unicam-embedded")
    if program is not None:
        write(tmp_path, "modules/picamera2.py", program)
        monkeypatch.syspath_prepend(tmp_path / "modules")
    findings = [finding for finding in check_machine(board) if "CSI" in finding.found]
    assert len(findings) == 1
    assert findings[0].found.startswith("/dev/video0: a CSI camera (unicam-image), which gives pictures only through")
    assert findings[0].level == level
    assert findings[0].found.endswith(found)
    assert (findings[0].mend is None) if mend is None else (mend in str(findings[0].mend))


def test_a_quiet_board_has_no_troubles(tmp_path: Path) -> None:
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "41000\n")
    write(tmp_path, "proc/meminfo", "MemAvailable: 614400 kB\n")
    found = by_name(check_machine(tmp_path))
    assert [found[name].level for name in ("cpu", "temperature", "memory")] == ["ok"] * 3
    assert found["camera"].level == "note"
    assert found["temperature"].found == "41 °C"


@pytest.mark.parametrize(
    ("answer", "level", "found"),
    [
        ("throttled=0x0", "ok", "never throttled since start"),
        ("throttled=0x50005", "warn", "now: under-voltage, throttled"),
        ("throttled=0x50001", "warn", "now: under-voltage; since start: throttled"),
        ("throttled=0x80000", "warn", "since start: soft temperature limit"),
        ('error=1 error_msg="no"', "warn", "vcgencmd get_throttled gives no answer"),
    ],
)
def test_the_boards_own_bits_are_read(
    tmp_path: Path, vcgencmd: Callable[[str], None], answer: str, level: str, found: str
) -> None:
    vcgencmd(answer)
    power = by_name(check_machine(tmp_path))["power"]
    assert (power.level, power.found) == (level, found)
    assert (power.mend is None) == (level == "ok")


@pytest.mark.usefixtures("nothing_works")
def test_a_runtime_that_crashes_is_reported_not_suffered(shadow: Callable[[str, str], None]) -> None:
    shadow("tflite_runtime", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    finding = by_name(check_packages())["tflite-runtime"]
    assert "died of SIGSEGV" in finding.found
    assert str(finding.mend).endswith("pip install --force-reinstall tflite-runtime 'numpy<2'")


@pytest.mark.usefixtures("nothing_works")
def test_a_runtime_that_gives_wrong_numbers_is_unusable(tmp_path: Path, shadow: Callable[[str, str], None]) -> None:
    program = """if True:
        import numpy as np

        class Interpreter:
            def __init__(self, **options): pass
            def allocate_tensors(self): pass
            def get_input_details(self):
                return [{"index": 0, "shape": [1, 1, 1, 3], "dtype": np.uint8, "quantization": (0.0, 0)}]
            get_output_details = get_input_details
            def set_tensor(self, index, value): pass
            def invoke(self): pass
            def get_tensor(self, index): return np.array([[[[9, 9, 9]]]], np.float32)
    """
    shadow("ai_edge_litert", program)
    info = tmp_path / "shadows/ai_edge_litert-9.9.dist-info"
    write(info, "METADATA", "Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 9.9\n")
    finding = by_name(check_packages())["litert"]
    assert "9.9 gives wrong numbers: [9.0, 9.0, 9.0]" in finding.found


@pytest.mark.usefixtures("nothing_works")
def test_without_a_usable_runtime_the_check_fails(command: Command) -> None:
    done = command("check", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    runtimes = [record for record in records if record["name"] in RUNTIMES]
    assert done.returncode == 1
    assert [record["level"] for record in runtimes] == ["fail"] * 3
    assert all("wrong glibc" in record["found"] and "pip install" in record["mend"] for record in runtimes)


def test_without_opencv_the_check_fails(shadow: Callable[[str, str], None], command: Command) -> None:
    shadow("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')\n")
    done = command("check")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FAIL  opencv"))
    assert "libGL.so.1" in line
    # Nothing of ours: the name of an unpublished package may be anybody's in an index.
    assert "--force-reinstall opencv-python-headless\n" in done.stdout
    assert "edgevision" not in "".join(line for line in done.stdout.splitlines() if "pip install" in line)


def test_a_file_in_the_working_directory_replaces_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = check_packages()
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert check_packages() == before


@pytest.mark.usefixtures("nothing_works")
def test_two_opencv_wheels_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("opencv-python", "opencv-contrib-python"):
        info = tmp_path / f"{name.replace('-', '_')}-4.11.0.dist-info"
        write(info, "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.11.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (warning,) = (finding for finding in check_packages() if finding.name == "opencv" and finding.level == "warn")
    assert "opencv-python" in warning.found
    assert "opencv-contrib-python" in warning.found
    assert "uninstall" in str(warning.mend)


def test_the_probe_models_are_what_the_script_writes() -> None:
    pytest.importorskip("ai_edge_litert.schema_py_generated", reason="the schema comes with LiteRT 2")
    pytest.importorskip("flatbuffers", reason="needs flatbuffers")
    pytest.importorskip("onnx", reason="needs onnx")
    script = runpy.run_path(str(Path(__file__).with_name("make_probe_models.py")))
    for name, make in (("tiny.tflite", "tiny_tflite"), ("tiny.onnx", "tiny_onnx")):
        committed = (PACKAGE / "_probe" / name).read_bytes()
        assert len(committed) < 500
        assert script[make]() == committed


def test_a_file_tells_what_it_is(data: Path, resealed: Callable[..., Path], command: Command) -> None:
    old = data / "tiny.int8.tflite"
    assert read_model_file(old).metadata.recipe_meaning == ""
    new = resealed(
        old.name,
        recipe_meaning="weights int8",
        trained_on=DataOrigin("bars", "ab" * 32, 4000),
        temperature=0.78,
        reject_threshold=0.5,
    )
    labels = "4 labels: red upright, red flat, blue upright, blue flat"
    found = {path: check_file(path) for path in (old, new)}
    assert {(each.name, each.level) for each in found.values()} == {(old.name, "ok")}
    assert f"bytes, int8; 12 x 8 pixels, stretch; {labels}; " in found[old].found
    size = new.stat().st_size
    assert found[new].found.startswith(
        f".tflite, {size:,} bytes, int8 (weights int8); 12 x 8 pixels, stretch; {labels}; "
    )
    assert "; trained on bars, 4,000 pictures; " in found[new].found
    assert "; temperature 0.78; scores below 0.5 rejected; edgevision " in found[new].found
    assert f"OK    {new.name}: {found[new].found}" in command("check", new).stdout.splitlines()


def test_a_file_that_cannot_be_used_fails_the_check(data: Path, tmp_path: Path, command: Command) -> None:
    content = bytearray((data / "tiny.float32.onnx").read_bytes())
    content[200] ^= 1
    (tmp_path / "bent.onnx").write_bytes(content)
    done = command(
        "check", "--json", data / "foreign.float32.tflite", tmp_path / "bent.onnx", tmp_path / "absent.tflite"
    )
    assert done.returncode == 1
    foreign, bent, absent = [json.loads(line) for line in done.stdout.splitlines()[-3:]]
    assert (foreign["level"], bent["level"], absent["level"]) == ("warn", "fail", "fail")
    assert "was not written by edgevision" in foreign["found"]
    assert "is damaged: the model does not match its SHA-256" in bent["found"]
    assert "cannot read the model file" in absent["found"]

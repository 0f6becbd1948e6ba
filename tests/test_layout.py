"""The rules of the house: what stands in which wheel, who imports whom, and what is loaded when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

#: Distribution → (folder of its pyproject.toml, import package).
PACKAGES = {
    "edgevision": (".", "edgevision"),
    "edgevision-converters": ("converters", "edgevision_converters"),
    "edgevision-device": ("device", "edgevision_device"),
    "edgevision-benchmarks": ("benchmarks", "edgevision_benchmarks"),
}
IMPORT_NAMES = [package for _, package in PACKAGES.values()]

#: Package → the siblings it may import. Arrows point at the device.
ARROWS = {
    "edgevision": {"edgevision_converters", "edgevision_benchmarks", "edgevision_device"},
    "edgevision_converters": {"edgevision_device"},
    "edgevision_benchmarks": {"edgevision_device"},
    "edgevision_device": set(),
}

#: What the device loads when it is needed, and not before; in benchmarks too.
LAZY = {"cv2", "ai_edge_litert", "tflite_runtime", "onnxruntime"}

#: What the packages that run on a board may import besides the standard library and their siblings.
ALLOWED = {
    "edgevision_device": {"numpy", "paho", "picamera2", *LAZY},  # the last two: only where they are asked for
    "edgevision_benchmarks": {"numpy", "jinja2", "rich", *LAZY},
}

HEAVY = ["tensorflow", "keras", "onnx", *sorted(LAZY)]


def modules_of(root: Path, package: str) -> list[Path]:
    folder = next(folder for folder, name in PACKAGES.values() if name == package)
    return sorted((root / folder / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return the first names of all modules that a file imports absolutely, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


def test_the_four_versions_are_equal(root: Path) -> None:
    projects = [tomllib.loads((root / folder / "pyproject.toml").read_text()) for folder, _ in PACKAGES.values()]
    versions = {project["project"]["version"] for project in projects}
    assert len(versions) == 1
    assert {import_module(package).__version__ for package in IMPORT_NAMES} == versions
    (version,) = versions
    siblings = [line for project in projects for line in project["project"]["dependencies"] if "edgevision" in line]
    assert siblings
    assert all(line.endswith(f"=={version}") for line in siblings)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_holds_exactly_its_own_package(root: Path, wheels: dict[str, Path], name: str) -> None:
    folder, package = PACKAGES[name]
    with zipfile.ZipFile(wheels[name]) as wheel:
        held = {entry for entry in wheel.namelist() if ".dist-info/" not in entry}
    source = root / folder / package
    tracked = {path.relative_to(source.parent).as_posix() for path in source.rglob("*") if path.is_file()}
    assert held == {path for path in tracked if "__pycache__" not in path}
    assert f"{package}/py.typed" in held


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("edgevision-device", ".tflite"), ("edgevision-benchmarks", ".jinja")],
    ids=["tiny model", "template"],
)
def test_a_wheel_holds_its_data(wheels: dict[str, Path], name: str, suffix: str) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        assert any(entry.endswith(suffix) for entry in wheel.namelist())


def test_the_wheel_for_the_device_is_small(wheels: dict[str, Path]) -> None:
    assert wheels["edgevision-device"].stat().st_size < 180_000


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_imports_follow_the_arrows(root: Path, package: str) -> None:
    siblings = {*IMPORT_NAMES, "device", "converters", "benchmarks", "tests"} - {package}
    for path in modules_of(root, package):
        assert imports_of(path) & siblings <= ARROWS[package], path


@pytest.mark.parametrize("package", ALLOWED)
def test_a_board_needs_few_packages(root: Path, package: str) -> None:
    allowed = {*sys.stdlib_module_names, *ARROWS[package], *ALLOWED[package], package}
    for path in modules_of(root, package):
        assert imports_of(path) <= allowed, path


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_importing_loads_nothing_heavy(package: str) -> None:
    loaded = run(f"import sys, {package}; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "\n"


#: What the way to a first label goes without: each takes a millisecond or more, which all boards pay at every start.
UNNEEDED = {
    *(f"edgevision_device.{name}" for name in ("_stream", "_sources", "_sinks", "_service", "_probe", "_public")),
    *("pathlib", "zipfile", "shutil", "bz2", "lzma", "tempfile", "random", "heapq", "signal", "subprocess", "socket"),
    *("urllib.parse", "http", "email", "logging", "difflib", "importlib.metadata", "ctypes.util", "decimal"),
}


@pytest.mark.parametrize(
    "line",
    [
        "from edgevision_device._cli import main; main(['classify', model, picture])",
        "from edgevision_device import Classifier, read_picture; Classifier(model).classify(read_picture(picture))",
    ],
    ids=["command", "library"],
)
def test_the_first_label_imports_what_it_needs(root: Path, tmp_path: Path, line: str) -> None:
    import cv2

    picture, model = tmp_path / "grey.png", root / "tests" / "device" / "data" / "tiny.int8.tflite"
    cv2.imwrite(str(picture), np.full((8, 12, 3), 127, np.uint8))
    # What others import costs as much without us.
    code = "import sys, cv2, ai_edge_litert.interpreter; before = {*sys.modules}; model, picture = sys.argv[1:];"
    code += f"{line}; print(*({{*sys.modules}} - before), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, model, picture], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "edgevision_device._classifier" in done.stderr.split()
    assert UNNEEDED & set(done.stderr.split()) == set()


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_the_public_names_are_sorted_and_there(package: str) -> None:
    module = import_module(package)
    assert module.__doc__
    # ruff's order (RUF022): CONSTANTS, Classes, functions, each in alphabetical order.
    kind = {name: 0 if name.isupper() else 1 if name[0].isupper() else 2 for name in module.__all__}
    assert list(module.__all__) == sorted(set(module.__all__), key=lambda name: (kind[name], name))
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing
    public = {name for name, value in vars(module).items() if is_public(name, value, package)}
    assert public <= set(module.__all__)


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_public_records_are_no_tuples(package: str) -> None:
    module = import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    assert not [name for name, value in public.items() if isinstance(value, type) and issubclass(value, tuple)]


def test_names_that_are_found_early_are_public() -> None:
    from edgevision_device import __all__, _classifier, _pictures

    assert {*_classifier.__all__, *_pictures.__all__} <= {*__all__}


def is_public(name: str, value: object, package: str) -> bool:
    return not name.startswith("_") and getattr(value, "__module__", "").split(".")[0] == package


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_modules_stay_short_and_say_what_they_are_for(root: Path, package: str) -> None:
    for path in modules_of(root, package):
        text = path.read_text()
        assert text.count("\n") < 400, path
        assert ast.get_docstring(ast.parse(text)), path
        assert path.name.startswith("_") or path.parent.name.startswith("_"), f"{path} is public"


#: Blocks the packages that only long work needs, then answers --help of a program and all its commands.
HELP = """
import sys
for name in ("tensorflow", "keras", "onnx", "tf2onnx", "onnxruntime", "cv2", "matplotlib", "ai_edge_litert"):
    sys.modules[name] = None
import contextlib, io, re
from {package} import main
def help_of(*line):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*line, "--help"])
    assert "usage: " in out.getvalue(), line
    return out.getvalue()
commands = re.findall(r"^    ([a-z][a-z-]*)(?: |$)", help_of(), re.MULTILINE)
for command in commands:
    help_of(command)
print(*commands)
"""


@pytest.mark.parametrize(
    ("package", "commands"),
    [
        (
            "edgevision",
            {"demo", "train", "sweep", "look", "models", "layers", "export", "verify", "benchmark", "imagenet"}
            | {"choose", "report"}
            | {"classify", "stream", "check", "service"},
        ),
        ("edgevision_device", {"classify", "stream", "check", "service"}),
        ("edgevision_benchmarks", set()),
    ],
    ids=["edgevision", "edgevision-device", "edgevision-benchmark"],
)
def test_help_answers_without_the_heavy_packages(package: str, commands: set[str]) -> None:
    assert set(run(HELP.format(package=package)).split()) == commands


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[str, str]:
    """Every text file that git tracks or would track."""
    line = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    found = {}
    for name in filter(None, done.stdout.split("\0")):
        content = (root / name).read_bytes() if (root / name).is_file() else b"\0"
        if b"\0" not in content:
            found[name] = content.decode()
    return found


def test_no_file_names_a_place_on_one_machine(texts: dict[str, str]) -> None:
    place = re.compile(r"(?<![\w.~])/(work|root|home/\w+|Users/\w+)/")
    named = [name for name, text in texts.items() if place.search(text) and name != "tests/test_layout.py"]
    assert not named


def test_no_file_names_a_package_index(texts: dict[str, str]) -> None:
    index = re.compile(r"py" + r"pi\.org|pythonhosted|/simple\b|--(extra-)?index-url |registry\.npm|find-links")
    named = [name for name, text in texts.items() if index.search(text) and name != "tests/test_layout.py"]
    assert not named


def test_what_runs_on_a_board_installs_neither_opencv_nor_a_runtime(root: Path) -> None:
    # It would overwrite the system's python3-opencv, and choose a runtime by what pip finds.
    for folder in ("device", "benchmarks"):
        project = tomllib.loads((root / folder / "pyproject.toml").read_text())["project"]
        assert not [line for line in project["dependencies"] if "[" in line or "opencv" in line]


def test_the_lock_names_versions_and_hashes_only(root: Path) -> None:
    lines = (root / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if re.search(r"://|@|/", line)]
    pinned = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^ ]+( ; .+)? \\", line) for line in pinned)
    assert sum(line.startswith("    --hash=sha256:") for line in lines) >= len(pinned)


def test_the_lock_holds_everything_that_is_required(root: Path) -> None:
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (root / "requirements.lock").read_text(), re.MULTILINE))
    projects = [tomllib.loads((root / folder / "pyproject.toml").read_text()) for folder, _ in PACKAGES.values()]
    wanted = [line for project in projects for line in project["project"]["dependencies"]]
    wanted += [line for group in projects[0]["project"]["optional-dependencies"].values() for line in group]
    wanted += projects[0]["dependency-groups"]["dev"]
    names = {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in wanted}
    assert names - set(PACKAGES) <= locked
    assert not names & locked & set(PACKAGES)

"""A Debian for arm64 and Pythons in it that run on this machine: made once, under `.arm64/`.

    .arm64/packages/        what debootstrap downloaded
    .arm64/root/            the same, unpacked: nothing in it is configured, nothing changes its root to it
    .arm64/NAME/            an environment: bin/python starts the root's Python under qemu
    .arm64/NAME-x86_64/     the same packages at the same versions for this machine

`bin/python` is a shell script that gives its own path as the program's name. `pyvenv.cfg` beside it makes a virtual
environment of that, so that `sys.executable` is the script and child processes run under qemu, too.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "benchmarks"))
from environments import EnvironmentMissing, find_python, find_uv  # noqa: E402

FOLDER = REPOSITORY / ".arm64"
CODENAME, PYTHON = "bookworm", "3.11"  # Raspberry Pi OS of 2023, which most boards run
QEMU = "qemu-aarch64-static"
PROCESSOR = "cortex-a72"  # of the Raspberry Pi 4, unless QEMU_CPU names another
UV_PLATFORM = "aarch64-manylinux_2_36"

#: qemu 7.2 shows the host's /proc/cpuinfo. LiteRT 2.3.0 and ONNX Runtime 1.31 die of reading an x86-64's, which names
#: no ARM part. qemu 8.1 shows one of its own.
CPUINFO = """\
processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""

#: In all environments, at one version on both architectures.
COMMON = ["numpy==1.26.4", "opencv-python-headless==4.11.0.86", "onnxruntime==1.31.1"]
TESTING = ["pytest>=8", "pytest-xdist>=3", "hypothesis>=6"]
#: Environment → what else it has.
ENVIRONMENTS = {
    "tflite-runtime": ["tflite-runtime==2.14.0"],
    "litert": ["ai-edge-litert==2.3.0"],
    "litert-2.1": ["ai-edge-litert==2.1.0"],  # what Python 3.9 gets
}


def check() -> None:
    """Raise EnvironmentMissing unless this machine can make and run the environments."""
    if platform.machine() != "x86_64":
        raise EnvironmentMissing(f"this compares arm64 with x86-64, and the machine is {platform.machine()}")
    absent = [name for name in (QEMU, "debootstrap", "dpkg") if find_program(name) is None]
    if absent:
        raise EnvironmentMissing(f"not installed: {', '.join(absent)}; apt-get install qemu-user-static debootstrap")
    native_python()


def find_program(name: str) -> str | None:
    """Return the path of a program; Debian keeps debootstrap where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def native_python() -> str:
    """Return this machine's own Python of the version that the root has."""
    return str(find_python(find_uv(), PYTHON))


def make_root() -> Path:
    """Return the root, after making it if it is not there."""
    root = FOLDER / "root"
    if root.exists():
        return root
    FOLDER.mkdir(exist_ok=True)
    packages, unfinished = FOLDER / "packages", FOLDER / "root.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    say(f"downloading Debian {CODENAME} for arm64")
    # Not --foreign, which unpacks some packages itself and therefore wants to be root.
    line = [str(find_program("debootstrap")), "--download-only", "--arch=arm64", "--variant=minbase"]
    run([*line, "--include=python3", CODENAME, str(packages), *mirror()])
    archives = sorted((packages / "var/cache/apt/archives").glob("*.deb"))
    if not archives:
        raise SystemExit(f"debootstrap left no package in {packages}")
    for archive in archives:
        run(["dpkg", "-x", str(archive), str(unfinished)])
    (unfinished / "proc").mkdir(exist_ok=True)
    (unfinished / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(core) for core in range(4)))
    # The package's installation would do that; without it every start compiles what it imports.
    compile_all(unfinished / "usr/lib" / f"python{PYTHON}")
    unfinished.rename(root)
    return root


def mirror() -> list[str]:
    """Return the address that this machine's apt takes the same Debian from, if it does, as debootstrap's argument."""
    line = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    try:
        told = subprocess.run(line, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return []
    rows = [row.split() for row in told.splitlines()]
    found = [row[2] for row in rows if row[:2] == [CODENAME, "main"] and row[2].startswith("http")]
    return found[:1]


def make_environment(name: str) -> tuple[Path, Path]:
    """Return the Pythons of an environment for arm64, and of the same for this machine, after making them."""
    requirements = [*COMMON, *ENVIRONMENTS[name]]
    folder, native = FOLDER / name, FOLDER / f"{name}-x86_64"
    program = folder / "bin" / "python"
    wanted = hashlib.sha256("\n".join([*requirements, *TESTING, __file__, Path(__file__).read_text()]).encode())
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted.hexdigest():
        say(f"installing {', '.join(requirements)}")
        for old in (folder, native):
            shutil.rmtree(old, ignore_errors=True)
        packages = folder / "lib" / f"python{PYTHON}" / "site-packages"
        line = [find_uv(), "pip", "install", "--quiet", "--only-binary", ":all:"]
        target = ["--python-platform", UV_PLATFORM, "--python-version", PYTHON, "--target", str(packages)]
        run([*line, *target, *requirements, *TESTING])
        compile_all(packages)
        (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        (packages / "edgevision.pth").write_text(f"{REPOSITORY / 'device'}\n")
        make_program(program, folder)
        run([find_uv(), "venv", "--quiet", "--python", native_python(), str(native)])
        run([*line, "--python", str(native / "bin" / "python"), *requirements])
        found = next(native.glob("lib/python*/site-packages"))
        (found / "edgevision.pth").write_text(f"{REPOSITORY / 'device'}\n")
        stamp.write_text(wanted.hexdigest())
    return program, native / "bin" / "python"


def make_program(program: Path, folder: Path) -> None:
    """Write bin/python, and bin/edgevision-device as pip writes it."""
    root = FOLDER / "root"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\nexec {find_program(QEMU)} -cpu "${{QEMU_CPU:-{PROCESSOR}}}" -0 "{program}" -L "{root}" '
        f'"{root}/usr/bin/python{PYTHON}" "$@"\n'
    )
    script = folder / "bin" / "edgevision-device"
    script.write_text(f"#!{program}\nimport sys\nfrom edgevision_device import main\nsys.exit(main())\n")
    for path in (program, script):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def compile_all(folder: Path) -> None:
    """Compile with this machine's Python, which is 10 times faster: what it writes is the same for all processors."""
    run([native_python(), "-m", "compileall", "-q", "-j", "2", str(folder)], allowed=(0, 1))


def run(line: list[str], allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command in silence, or end with what it printed."""
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode not in allowed:
        raise SystemExit(f"`{' '.join(line)}` failed:\n{done.stdout[-3000:]}")


def say(text: str) -> None:
    """Tell what takes long."""
    print(text, file=sys.stderr, flush=True)

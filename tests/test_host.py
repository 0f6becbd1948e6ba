"""`benchmark --host`: through the real ssh to a real sshd on this machine, which stands for a board."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision_benchmarks import _ssh
from edgevision_benchmarks._remote import _Device
from edgevision_benchmarks._wheels import pack_wheel
from edgevision_device import HostError, Metadata, Normalization, seal

COLORS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200), "dark": (5, 5, 5)}
FAST = ("--runs", "2", "--warmup", "0")
#: More than any test waits for.
ENDLESS = ("--runs", "1000000000")
#: Nothing listens there.
NO_INDEX = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


@dataclass
class Board:
    """A running sshd, and what stands for the device behind it.

    Attributes:
        folder: keys, configuration and log.
        home: of the user there.
        port: of sshd.
        sshd: its process.
        started: what was started here.
    """

    folder: Path
    home: Path
    port: int
    sshd: subprocess.Popen[bytes]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def place(self) -> Path:
        return self.home / ".cache" / "edgevision" / "host"

    def start(self, *words: object, program: str = "edgevision_benchmarks") -> subprocess.Popen[str]:
        line = [sys.executable, "-m", program, *map(str, words), "--host", "board"]
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables(),
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=900)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def variables(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def processes(self) -> list[str]:
        """Return the command lines of all that runs there: its home is in its environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"HOME={self.home}\0".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().decode(errors="replace"))
        return found

    def cut(self) -> None:
        """Kill what sshd started for the connections, as if the network were gone."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name, rest = (folder / "stat").read_text().split(" (", 1)[1].rsplit(") ", 1)
                parents[int(folder.name)] = (int(rest.split()[1]), name)
        ours = {self.sshd.pid}
        while more := {pid for pid, (parent, _) in parents.items() if parent in ours} - ours:
            ours |= more
        for pid in ours - {self.sshd.pid}:
            if parents[pid][1].startswith("sshd"):
                os.kill(pid, signal.SIGKILL)


Serve = Callable[..., Board]


@pytest.fixture(scope="module")
def interpreter() -> Callable[[Path, str], Path]:
    """Make a folder with nothing but the python3 of a version."""

    def make(folder: Path, version: str) -> Path:
        home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        found = sorted(home.glob(f"{version}.*/bin/python{version}")) or [shutil.which(f"python{version}")]
        if found[0] is None:
            pytest.skip(f"no Python {version} here (asked pyenv and PATH)")
        write_script(folder / "python3", f'exec {found[0]} "$@"')
        return folder

    return make


def write_script(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start an sshd of the current user: its home there, the PATH there, and what else differs."""
    where = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = {name: shutil.which(name, path=where) for name in ("sshd", "ssh", "ssh-keygen")}
    for name, path in programs.items():
        if path is None:
            pytest.skip(f"no {name} here: sudo apt install openssh-server openssh-client")
    boards: list[Board] = []

    def start(home: Path, path: Path, known: str = "{key}", authorized: str = "{key}", **variables: str) -> Board:
        folder = tmp_path_factory.mktemp("sshd")
        for name in ("host", "user"):
            line = [programs["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        public = {name: (folder / f"{name}.pub").read_text() for name in ("host", "user")}
        (folder / "authorized").write_text(authorized.format(key=public["user"]))
        (folder / "known").write_text(f"[127.0.0.1]:{port} {known.format(key=public['host'])}" if known else "")
        environment = {"HOME": home, "PATH": path, **variables}
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in environment.items())}\n"
        )
        (folder / "ssh_config").write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityAgent none\n"
            f"  IdentitiesOnly yes\n  IdentityFile {folder}/user\n  UserKnownHostsFile {folder}/known\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )
        # ssh looks for its configuration in the home of the password file, whatever HOME says.
        write_script(folder / "bin" / "ssh", f'exec {programs["ssh"]} -F {folder}/ssh_config "$@"')
        home.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("wb") as log:
            line = [str(programs["sshd"]), "-D", "-e", "-f", str(folder / "sshd_config")]
            board = Board(folder, home, port, subprocess.Popen(line, stderr=log))
        boards.append(board)
        until(lambda: b"listening" in (folder / "log").read_bytes() or board.sshd.poll() is not None, "sshd")
        assert board.sshd.poll() is None, (folder / "log").read_text()
        return board

    yield start
    for board in boards:
        board.cut()
        board.sshd.kill()
        board.sshd.wait()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH whose python3 will do: the one that runs the tests, without its environment."""
    folder = tmp_path_factory.mktemp("path")
    write_script(folder / "python3", f'exec {os.path.realpath(sys.executable)} "$@"')
    return folder


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A file of four labels, and pictures: `data` and, split, `parts`."""
    folder = tmp_path_factory.mktemp("things")
    content = (root / "tests" / "benchmarks" / "data" / "colors.tflite").read_bytes()
    known = Metadata(
        name="colors",
        recipe="float32",
        labels=tuple(COLORS),
        size_wh=(8, 6),
        resize="stretch",
        normalization=Normalization((0.0,), (255.0,)),
    )
    (folder / "colors.tflite").write_bytes(seal(content, known, "tflite"))
    (folder / "foreign.tflite").write_bytes(content)
    (folder / "names.txt").write_text("\n".join(COLORS))
    for label, color in COLORS.items():
        for home in (folder / "data" / label, folder / "parts" / "test" / label):
            home.mkdir(parents=True)
            for number in range(3):
                write_picture(home / f"größe {number}.png", color, number)
    (folder / "parts" / "train" / "red").mkdir(parents=True)
    return folder


def write_picture(path: Path, color: tuple[int, int, int], number: int) -> None:
    rgb = np.full((7, 10, 3), color, np.uint8)
    rgb[0, 0] = number
    path.write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())


@pytest.fixture(scope="module")
def board(root: Path, serve: Serve, python: Path, things: Path) -> Iterator[Board]:
    """A board that is set up; its environment is kept in .venvs between the runs of the tests."""
    home = root / ".venvs" / "host"
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / "host.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest may run twice
        (home / ".bashrc").write_text("printf 'welcome, this is chatter\\nand more'\n")
        board = serve(home, python)
        done = board.run(things / "colors.tflite", "--data", things / "data", *FAST)
        if not os.environ.get("CI") and ("no package index" in done.stderr or "has no venv" in done.stderr):
            pytest.skip(done.stderr.splitlines()[-1])
        assert done.returncode == 0, done.stderr
        yield board
        for process in board.started:
            process.kill()
            process.communicate()


@pytest.fixture(autouse=True)
def nothing_runs_there(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "board" in request.fixturenames:
        board: Board = request.getfixturevalue("board")
        until(lambda: not board.processes(), "what runs there ends")
        left = {path.name for path in board.place.iterdir()}
        assert left <= {"blobs", "environment", "environment.json", "lock"}


def test_the_report_is_of_the_board_and_has_the_names_from_here(board: Board, things: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = [things / "colors.tflite", "--data", things / "data", "--out", out, "--gate", "top1>=1", *FAST]
    process = board.start("benchmark", *words, program="edgevision")
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "12 pictures of 4 labels" in printed
    assert "gates: 1 of 1 passed" in printed
    assert "colors.tflite: measured" in said
    assert "nothing to copy: all 13 files are there" in said
    assert "setting up" not in said
    record = json.loads((out / "report.json").read_text())
    assert record["command"].startswith("edgevision benchmark ")
    assert record["command"].endswith("--host board")
    assert record["pictures"]["name"] == str(things / "data")
    (row,) = record["files"]
    assert (row["path"], row["name"]) == (str(things / "colors.tflite"), "colors.tflite")
    assert (row["measured"]["warmup_runs"], row["measured"]["latency"]["count"]) == (0, 2)
    assert row["measured"]["confusion"] == {label: {label: 3} for label in COLORS}
    assert "--host board" in (out / "report.html").read_text()


def test_without_pictures_the_board_measures_all_but_accuracy(board: Board, things: Path) -> None:
    done = board.run(things / "colors.tflite", "--no-accuracy", "--json", *FAST)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["pictures"]["name"], record["pictures"]["count"]) == ("random pixels", 0)
    (row,) = record["files"]
    assert (row["path"], row["measured"]["pictures"]) == (str(things / "colors.tflite"), 0)
    assert row["measured"]["latency"]["count"] == 2


def test_only_what_is_not_there_is_copied(board: Board, things: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(things / "parts", data)
    fresh = time.time_ns() % 2**24
    write_picture(data / "test" / "dark" / "new.png", (fresh % 9, fresh >> 8 & 255, fresh >> 16), fresh % 251)
    (data / "test" / "red" / "broken.png").write_bytes(b"no picture")
    foreign = ["--labels", things / "names.txt", "--resize", "stretch", "--pixels", "0..1", "--json"]
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no file")
    done = board.run(things / "colors.tflite", things / "foreign.tflite", bad, "--data", data, *foreign, *FAST)
    assert done.returncode == 1, done.stderr
    assert re.search("copied [1-5] of 18 files", done.stderr)  # by what an earlier run of the tests has left
    record = json.loads(done.stdout)
    assert (record["pictures"]["split"], record["pictures"]["count"]) == ("test", 14)
    assert [row["error"] for row in record["files"][:2]] == [None, None]
    assert str(bad) in record["files"][2]["error"]
    (skipped,) = record["pictures"]["skipped"]
    assert done.stderr.count(f"skipped: {skipped}") == 1
    assert skipped.startswith(f"{data / 'test' / 'red' / 'broken.png'}: ")
    assert done.stderr.count("broken.png") == 1


def test_a_terminal_shows_the_progress_from_there(board: Board, things: Path) -> None:
    reader, writer = os.openpty()
    line = [sys.executable, "-m", "edgevision_benchmarks", str(things / "colors.tflite"), "--host", "board"]
    line += ["--data", str(things / "data"), *FAST]
    process = subprocess.Popen(
        line, stdin=writer, stdout=subprocess.DEVNULL, stderr=writer, env={**board.variables(), "TERM": "xterm"}
    )
    os.close(writer)
    said = b""
    with contextlib.suppress(OSError):  # the last one has closed the terminal
        while select.select([reader], [], [], 300)[0]:
            said += os.read(reader, 1 << 16)
    os.close(reader)
    assert process.wait() == 0, said
    assert b"colors.tflite: measured" not in said  # which stands in place of a bar elsewhere
    assert b"\x1b[?25l" in said
    assert b"\x1b[?25h" in said


@pytest.mark.parametrize("how", ["network", "interrupt", "kill"])
def test_what_breaks_off_ends_there(board: Board, things: Path, how: str) -> None:
    words = [things / "colors.tflite", "--data", things / "data"]
    process = board.start(*words, *ENDLESS)
    until(lambda: any("_child" in line for line in board.processes()) or process.poll() is not None, "it measures")
    if how == "network":
        board.cut()
    elif how == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    _, said = process.communicate(timeout=120)
    if how == "network":
        assert process.returncode == 2
        assert "the connection broke off while measuring" in said
        assert "start the same command again" in said
    if how == "interrupt":
        assert process.returncode == 130
    until(lambda: not board.processes(), "what ran there ends")
    again = board.run(*words, *FAST)
    assert again.returncode == 0, again.stderr
    assert "nothing to copy" in again.stderr


def test_the_error_is_that_of_the_board(board: Board, things: Path, tmp_path: Path) -> None:
    for label in ("red", "green"):
        (tmp_path / "bad" / label).mkdir(parents=True)
        (tmp_path / "bad" / label / "a.png").write_bytes(b"no picture")
    done = board.run(things / "colors.tflite", "--data", tmp_path / "bad", *FAST)
    assert done.returncode == 2
    assert "error: board: none of the 2 pictures can be decoded" in done.stderr.splitlines()[-1]
    assert done.stderr.count("none of the 2 pictures") == 1


def test_one_benchmark_at_a_time(board: Board, things: Path) -> None:
    with (board.place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = board.run(things / "colors.tflite", "--data", things / "data", *FAST)
    assert done.returncode == 2
    assert "another benchmark runs there" in done.stderr


def test_an_environment_that_was_damaged_there(board: Board, things: Path) -> None:
    program = board.place / "environment" / "bin" / "edgevision-benchmark"
    program.rename(program.with_suffix(".away"))
    try:
        line = refused(board, things)
    finally:
        program.with_suffix(".away").rename(program)
    assert "No such file or directory" in line
    assert "remove what is there with --purge and start again" in line


@pytest.mark.parametrize("out", [True, False])
def test_what_cannot_be_read_as_a_report_is_kept(board: Board, things: Path, tmp_path: Path, out: bool) -> None:
    program = board.place / "environment" / "bin" / "edgevision-benchmark"
    program.rename(program.with_suffix(".away"))
    write_script(program, "printf 'half an ho'")
    try:
        line = refused(board, things, *(["--out", tmp_path / "out"] if out else []))
    finally:
        program.with_suffix(".away").rename(program)
    assert "what came back is no report" in line
    if out:
        assert f"it is kept in {tmp_path / 'out' / 'unreadable.json'}" in line
        assert (tmp_path / "out" / "unreadable.json").read_text() == "half an ho"
    else:
        assert "with --out it is kept" in line


def test_a_picture_that_was_damaged_there(board: Board, things: Path) -> None:
    """As a power cut does: its length is right, its bytes are 0."""
    content = (things / "data" / "red" / "größe 0.png").read_bytes()
    blob = board.place / "blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(bytes(len(content)))
    try:
        line = refused(board, things)
    finally:
        blob.write_bytes(content)
    assert "error: board: it measured other pictures than these; --purge removes what is damaged there" in line


def refused(board: Board, things: Path, *more: object) -> str:
    done = board.run(things / "colors.tflite", "--data", things / "data", *FAST, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert not board.processes()
    return done.stderr.splitlines()[-1]


STRANGER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEjjw0Wk8cTB1XcPm3yV4e7q1fXk7hT9QzVqv3rC0mYx"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"authorized": ""}, "does not accept your key; `ssh-copy-id board`", id="wrong key"),
        pytest.param({"known": ""}, "its host key is not known here; `ssh board` once", id="unknown host"),
        pytest.param({"known": STRANGER}, "not the one that it had before: find out why", id="another host key"),
        pytest.param({"path": Path("/nowhere")}, "it has no python3", id="no python3"),
    ],
)
def test_no_way_there(
    serve: Serve, python: Path, things: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    board = serve(tmp_path / "home", **{"path": python, **settings})
    line = refused(board, things)
    assert "error: board: " in line
    assert message in line
    assert not list((tmp_path / "home").iterdir())


def test_no_python3_is_not_a_matter_of_keys(serve: Serve, things: Path, tmp_path: Path) -> None:
    board = serve(tmp_path / "home", Path("/nowhere"))
    (board.home / ".bashrc").write_text("echo 'sh: .profile: Permission denied' >&2\n")
    assert "it has no python3" in refused(board, things)


def test_a_python3_that_does_not_start(serve: Serve, things: Path, tmp_path: Path) -> None:
    write_script(tmp_path / "path" / "python3", "echo 'libpython3.so: Permission denied' >&2; exit 3")
    assert "python3 does not start there (libpython3.so: " in refused(
        serve(tmp_path / "home", tmp_path / "path"), things
    )


def test_a_login_that_says_edgevision(
    serve: Serve, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = serve(tmp_path / "home", python)
    (board.home / ".bashrc").write_text(
        "echo edgevision, kitchen; echo edgevision 3 9; echo edgevision 2 7 18 is old\n"
    )
    monkeypatch.setenv("PATH", board.variables()["PATH"])
    with _ssh.Connection("board") as connection:
        assert connection.ask("looking", "open")["place"] == str(board.place)


def test_a_login_that_waits(serve: Serve, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = serve(tmp_path / "home", python)
    (board.home / ".bashrc").write_text("read line\n")
    monkeypatch.setenv("PATH", board.variables()["PATH"])
    monkeypatch.setattr(_ssh, "_GREETING_S", 0.5)
    with pytest.raises(HostError, match=r"no python3 answered there for 0\.5 s; `ssh board python3 -V` in a terminal"):
        _ssh.Connection("board")
    until(lambda: not board.processes(), "what runs there ends")


def test_a_sign_of_life_is_no_part_of_a_file(
    serve: Serve, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = serve(tmp_path / "home", python)
    monkeypatch.setenv("PATH", board.variables()["PATH"])
    contents = {hashlib.sha256(content).hexdigest(): content for content in (b"one", b"two", bytes(2**21))}
    with _ssh.Connection("board") as connection:
        device = _Device(connection)
        monkeypatch.setattr(_ssh, "_BEAT_S", 0.0)  # at every chance
        device.copy(contents)
        assert {path.name: path.read_bytes() for path in (board.place / "blobs").iterdir()} == contents
        device.purge()


def test_what_the_user_keeps_there_is_not_imported(
    serve: Serve, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    board = serve(home, python, PYTHONPATH=str(home / "mine"))
    (home / "mine").mkdir()
    for path in (home / "json.py", home / "mine" / "select.py"):
        path.write_text("raise SystemExit('imported')\n")
    monkeypatch.setenv("PATH", board.variables()["PATH"])
    with _ssh.Connection("board") as connection:
        assert connection.ask("looking", "open")["place"] == str(board.place)


def test_nobody_listens(serve: Serve, python: Path, things: Path, tmp_path: Path) -> None:
    board = serve(tmp_path / "home", python)
    board.sshd.kill()
    board.sshd.wait()
    assert "it cannot be reached: is it on" in refused(board, things)


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_an_old_python(
    serve: Serve, interpreter: Callable[[Path, str], Path], things: Path, tmp_path: Path, version: str
) -> None:
    line = refused(serve(tmp_path / "home", interpreter(tmp_path / "path", version)), things)
    assert f"its python3 is {version}." in line
    assert "3.9 is the oldest that will do" in line
    assert not list((tmp_path / "home").iterdir())


def test_a_python_without_venv(serve: Serve, python: Path, things: Path, tmp_path: Path) -> None:
    # As Debian's without python3-venv: everything but ensurepip.
    show = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    line = [python / "python3", "-c", show]
    library = Path(subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip())
    mine = tmp_path / "prefix" / "lib" / library.name
    mine.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in ("ensurepip", "site-packages"):
            (mine / entry.name).symlink_to(entry)
    (tmp_path / "prefix" / "bin").mkdir()
    shutil.copy(os.path.realpath(sys.executable), tmp_path / "prefix" / "bin" / "python3")  # it looks beside itself
    line = refused(serve(tmp_path / "home", tmp_path / "prefix" / "bin"), things)
    assert "its python3 has no venv; there: sudo apt install python3-venv" in line


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Generator[None, None, None]:
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_while_it_is_set_up(serve: Serve, python: Path, things: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "home" / ".cache", "4m"):
        line = refused(serve(tmp_path / "home", python), things)
    assert "no space is left for" in line
    assert "--purge" in line


def test_pictures_that_do_not_fit(serve: Serve, board: Board, python: Path, things: Path, tmp_path: Path) -> None:
    small = serve(tmp_path / "home", python)
    data = tmp_path / "data"
    shutil.copytree(things / "data", data)
    (data / "red" / "large.bmp").write_bytes(bytes(2**21))
    with small_disk(tmp_path / "home" / ".cache", "1m"):
        small.place.mkdir(mode=0o700, parents=True)
        shutil.copy(board.place / "environment.json", small.place)
        (small.place / "environment").symlink_to(board.place / "environment")
        line = refused(small, things, "--data", data)
        assert "no space is left for" in line
        assert "bytes are to be copied, and" in line
        assert not list((small.place / "blobs").iterdir())


def test_without_a_network(serve: Serve, board: Board, python: Path, things: Path, tmp_path: Path) -> None:
    lonely = serve(tmp_path / "home", python, PIP_NO_COMPILE="1", **NO_INDEX)
    assert "give it a network, or wheels with --wheels DIR" in refused(lonely, things)

    (tmp_path / "wheels").mkdir()
    site = next(board.place.glob("environment/lib/python3*/site-packages"))
    for distribution in metadata.distributions(path=[str(site)]):
        if distribution.metadata["Name"] not in ("pip", "setuptools"):  # venv brings them
            repack(distribution, tmp_path / "wheels")
    words = [things / "colors.tflite", "--data", things / "data", *FAST]
    done = lonely.run(*words, "--wheels", tmp_path / "wheels")
    assert done.returncode == 0, done.stderr

    # It is there now, and wheels are not asked for again.
    done = lonely.run(*words, "--purge")
    assert done.returncode == 0, done.stderr
    assert "setting up" not in done.stderr
    assert f"removed {lonely.place}" in done.stderr
    assert not list((tmp_path / "home").glob("*/*"))
    again = lonely.start("benchmark", "--purge", program="edgevision")
    assert "removed " in again.communicate(timeout=300)[1]
    assert again.returncode == 0
    assert not list((tmp_path / "home").glob("*/*"))


def repack(distribution: metadata.Distribution, folder: Path) -> None:
    """Make a wheel of what is installed, so that nothing is downloaded twice."""
    tags = [line.split(": ")[1] for line in (distribution.read_text("WHEEL") or "").splitlines() if line[:4] == "Tag:"]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(tag.split("-") for tag in tags), strict=True))
    name = distribution.metadata["Name"].replace("-", "_").replace(".", "_")
    path = folder / f"{name}-{distribution.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in distribution.files or []:
            if not {"..", "__pycache__", "tests", "INSTALLER"}.intersection(file.parts):
                archive.write(distribution.locate_file(file), str(file))


@pytest.mark.parametrize("name", ["edgevision-device", "edgevision-benchmarks"])
def test_the_wheel_of_what_is_installed_is_the_one_that_is_built(wheels: dict[str, Path], name: str) -> None:
    packed, content = pack_wheel(name, name.replace("-", "_"))
    assert packed == wheels[name].name
    assert (packed, content) == pack_wheel(name, name.replace("-", "_"))
    (wheels[name].parent / "packed.whl").write_bytes(content)
    with zipfile.ZipFile(wheels[name]) as built, zipfile.ZipFile(wheels[name].parent / "packed.whl") as ours:
        assert set(ours.namelist()) == set(built.namelist())
        differing = {entry for entry in built.namelist() if ours.read(entry) != built.read(entry)}
        (about,) = (entry for entry in built.namelist() if entry.endswith("/METADATA"))
        required = [[line for line in of.read(about).splitlines() if b"Requires-" in line] for of in (built, ours)]
    # An editable installation keeps the README of the day on which it was made.
    assert {entry.split("/")[-1] for entry in differing} <= {"WHEEL", "RECORD", "METADATA"}
    assert required[0] == required[1]

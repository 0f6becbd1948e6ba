"""The device's side of `--host`: this text is sent over ssh, and run by the device's own python3 without any package.

Each line on standard input is a question in JSON. It is answered by any number of `{"stdout"}` and `{"stderr"}`, what a
program says meanwhile, then by one `{"result"}` or `{"error", "detail"}`:

    open      take the lock; what is there
    missing   `blobs`: SHA-256 and size of each: those that are not there
    receive   `blobs`: their bytes follow the question at once, in this order and without anything between
    install   `wheels`: name and SHA-256; `own` of these, and `requirements`, are installed into the environment, which
              is made if need be; `offline`: from these wheels alone; `made_of`: what `open` then says is there
    run       `files`: name and SHA-256; `words`, `terminal`: run a program of the environment on these files
    purge     remove everything

An error is the last answer. Standard input that ends or falls silent means that the connection is lost, and a signal
that is to end this process ends it: the program that runs is killed with its children, whatever has become of the
workstation.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, Optional

#: The workstation says something every few seconds.
SILENCE_S = 60.0
#: So long a blob stays that no run uses.
_KEPT_S = 30 * 24 * 3600
_CHUNK = 1 << 18


class Lost(Exception):
    """Nobody is there any more."""


class Refused(Exception):
    """A question that cannot be done: a word for why, and a detail."""


class Incoming:
    """Standard input, which must not fall silent."""

    def __init__(self) -> None:
        self._held = b""
        self._heard = time.monotonic()

    def fill(self, ready: bool = False) -> None:
        """Take in what has come, or wait for it."""
        left_s = self._heard + SILENCE_S - time.monotonic()
        if not ready and not select.select([0], [], [], max(0.0, left_s))[0]:
            raise Lost
        chunk = os.read(0, _CHUNK)
        if not chunk:
            raise Lost
        self._heard = time.monotonic()
        # While a program runs only line ends arrive, which say that the workstation is still there.
        self._held += chunk

    def check(self) -> None:
        """Raise Lost if the silence lasts too long."""
        if time.monotonic() - self._heard > SILENCE_S:
            raise Lost

    def question(self) -> dict[str, Any]:
        """Wait for the next question."""
        while True:
            line, end, rest = self._held.partition(b"\n")
            if not end:
                self.fill()
                continue
            self._held = rest
            if line:
                return json.loads(line)

    def content(self, size: int) -> Generator[bytes, None, None]:
        """Yield the next `size` bytes in pieces."""
        while size:
            if not self._held:
                self.fill()
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece


class Agent:
    """Does what it is asked, in one folder."""

    def __init__(self) -> None:
        self.incoming = Incoming()
        self._lock: Optional[IO[str]] = None
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.place = Path(os.environ.get("EDGEVISION_CACHE") or Path(cache) / "edgevision") / "host"
        self.blobs, self.environment = self.place / "blobs", self.place / "environment"
        self.stamp = self.place / "environment.json"
        self.scratch = [self.place / "run", self.place / "tmp"]

    def serve(self) -> None:
        """Answer until standard input ends, or something cannot be done."""
        try:
            self._answer_all()
        finally:
            if self._lock is not None:  # without it, another one is at work here
                self.sweep()

    def _answer_all(self) -> None:
        while True:
            question = self.incoming.question()
            try:
                answer = getattr(self, question.pop("do"))(**question)
            except Refused as refused:
                return send(error=refused.args[0], detail=refused.args[1])
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                return send(error="full" if full else "system", detail=str(error))
            send(result=answer)

    def open(self) -> dict[str, Any]:
        """Take the lock, which ends with this process, and say what is there."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = self.place.stat()
        if there.st_uid != os.geteuid() or there.st_mode & 0o022:
            raise Refused("unsafe", str(self.place))
        lock = (self.place / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("busy", str(self.place)) from None
        self._lock = lock
        self.blobs.mkdir(exist_ok=True)
        self.sweep()
        return {
            "place": str(self.place),
            "bits": 8 * struct.calcsize("P"),
            "venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
            "made_of": self._stamped().get("made_of"),
        }

    def missing(self, blobs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """Say what is not there yet, if there is room for it."""
        sizes = {sha256: size for sha256, size in blobs if self._size(sha256) != size}
        needed, free = sum(sizes.values()), shutil.disk_usage(self.place).free
        if needed > free:
            raise Refused("full", f"{needed} bytes are to be copied, and {free} are free")
        return {"blobs": list(sizes)}

    def receive(self, blobs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """Take in what follows; a blob is whole, or it is not there."""
        partial = self.place / "partial"
        try:
            for sha256, size in blobs:
                digest = hashlib.sha256()
                with partial.open("wb") as file:
                    for piece in self.incoming.content(size):
                        digest.update(piece)
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())  # a power cut could leave its name and length, and zeros
                if digest.hexdigest() != sha256:
                    raise Refused("changed", sha256)
                os.replace(partial, self.blobs / sha256)
        finally:
            partial.unlink(missing_ok=True)
        return {}

    def install(
        self, wheels: Mapping[str, str], own: Sequence[str], requirements: Sequence[str], offline: bool, made_of: Any
    ) -> dict[str, Any]:
        """Make the environment, or put other wheels into the one that is there."""
        kept = self._stamped()
        self.stamp.unlink(missing_ok=True)  # what breaks off leaves none, and is made anew
        if not kept:
            shutil.rmtree(self.environment, ignore_errors=True)
            code = self._call([sys.executable, "-m", "venv", str(self.environment)], self.place)
            if code:
                self._give_up("venv", code)
        folder = self._link("run/wheels", wheels)
        # What has no wheel would be compiled, which takes hours on a board.
        pip = [str(self.environment / "bin" / "python"), "-m", "pip", "install", "--no-cache-dir", "--no-input"]
        pip += ["--progress-bar", "off", "--retries", "2", "--only-binary", ":all:"]
        pip += ["--no-index", "-f", str(folder)] if offline else []
        # Ours may have changed and kept their version.
        replace = ["--no-deps", "--force-reinstall", *(str(folder / name) for name in own)]
        code = self._call([*pip, *replace], self.place) or self._call([*pip, *requirements], self.place)
        if code:
            self._give_up("pip", code)
        for sha256 in set(wheels.values()):  # what is installed needs no room twice
            (self.blobs / sha256).unlink()
        self._make_stamp(made_of)
        return {}

    def run(self, files: Mapping[str, str], words: Sequence[str], terminal: Optional[Sequence[int]]) -> dict[str, Any]:
        """Run a program of the environment where `files` are; `terminal`: columns and lines, where there is one."""
        folder = self._link("run/files", files)
        for blob in self.blobs.iterdir():
            if blob.stat().st_mtime < time.time() - _KEPT_S:
                blob.unlink()
        return {"code": self._call([str(self.environment / "bin" / words[0]), *words[1:]], folder, terminal)}

    def purge(self) -> dict[str, Any]:
        """Remove everything that was ever put here."""
        size_bytes = sum(path.lstat().st_size for path in self.place.rglob("*") if not path.is_dir())
        shutil.rmtree(self.place)
        self._lock = None  # from here on another one may be at work here
        with contextlib.suppress(OSError):  # other caches are in it
            self.place.parent.rmdir()
        return {"size_bytes": size_bytes}

    def sweep(self) -> None:
        """Remove what only a running program needs."""
        for folder in self.scratch:
            shutil.rmtree(folder, ignore_errors=True)

    def _size(self, sha256: str) -> Optional[int]:
        try:
            return (self.blobs / sha256).stat().st_size
        except FileNotFoundError:
            return None

    def _stamped(self) -> dict[str, Any]:
        """Return what the environment was made of; empty where there is none that this Python can use."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.stamp.read_text())
            if found["python"] == _python():
                return found
        return {}

    def _link(self, name: str, files: Mapping[str, str]) -> Path:
        folder = self.place / name
        folder.mkdir(parents=True)
        for entry, sha256 in files.items():
            path = folder / entry
            path.parent.mkdir(parents=True, exist_ok=True)
            os.utime(self.blobs / sha256)  # it is used
            os.link(self.blobs / sha256, path)
        return folder

    def _call(self, words: Sequence[str], folder: Path, terminal: Optional[Sequence[int]] = None) -> int:
        """Run a program, pass on what it says, and return its exit code; kill it when the connection is lost."""
        (self.place / "tmp").mkdir(exist_ok=True)
        errors, writer = _open_terminal(*terminal) if terminal else os.pipe()
        child = subprocess.Popen(
            words,
            cwd=folder,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=writer,
            start_new_session=True,
        )
        os.close(writer)
        assert child.stdout is not None
        streams = {child.stdout.fileno(): "stdout", errors: "stderr"}
        try:
            while streams:
                ready = select.select([0, *streams], [], [], 1.0)[0]
                if 0 in ready:
                    self.incoming.fill(ready=True)
                self.incoming.check()
                for stream in filter(None, ready):
                    try:
                        chunk = os.read(stream, _CHUNK)
                    except OSError:  # EIO: nobody has the terminal open any more
                        chunk = b""
                    if chunk:
                        send(**{streams[stream]: chunk.decode("latin-1")})
                    else:
                        del streams[stream]
            return child.wait()
        finally:
            # The group is the program and its children; where it has ended by itself there is none.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
            os.close(errors)

    def _variables(self) -> dict[str, str]:
        """Return the environment variables of a program: nothing of the user's packages, nothing outside the folder."""
        foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        own = {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_USER": "0",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "TMPDIR": str(self.place / "tmp"),
        }
        return {**{name: value for name, value in os.environ.items() if name not in foreign}, **own}

    def _give_up(self, step: str, code: int) -> NoReturn:
        """Leave nothing half made, and say why."""
        # venv does not say it itself. No environment has room in so little.
        free = shutil.disk_usage(self.place).free
        full = free < 1 << 24
        if full or step == "venv":
            shutil.rmtree(self.environment, ignore_errors=True)
        else:  # pip takes back what it could not finish
            self._make_stamp(None)
        raise Refused("full" if full else step, f"{free} bytes are free" if full else f"it ended with code {code}")

    def _make_stamp(self, made_of: Any) -> None:
        self.stamp.write_text(json.dumps({"made_of": made_of, "python": _python()}))


def send(**answer: Any) -> None:
    """Write one answer."""
    left = memoryview(json.dumps(answer).encode() + b"\n")
    try:
        while left:
            left = left[os.write(1, left) :]
    except BrokenPipeError:
        raise Lost from None


def main() -> int:
    """Serve; return 1 when the connection was lost."""

    def stop(number: int, frame: object) -> None:
        # Nothing is interrupted: from here on there is nobody to hear from, nor to tell.
        nobody = os.open(os.devnull, os.O_RDWR)
        os.dup2(nobody, 0)
        os.dup2(nobody, 1)
        os.close(nobody)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    with contextlib.suppress(Lost):
        Agent().serve()
    return 1


def _open_terminal(columns: int, lines: int) -> tuple[int, int]:
    """Return both ends of a terminal of this size, so that a program shows its progress as it does on one."""
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return reader, writer


def _python() -> str:
    return f"{sys.executable} {platform.python_version()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())

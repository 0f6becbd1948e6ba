"""Measuring on another device: what it needs is copied, `edgevision-benchmark` runs there, its report comes back."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Callable, Optional, Union

from edgevision_device import FileError, HostError, PictureError, UsageError, hash_pictures, write_atomically

from ._flips_section import make_thumbnails
from ._measure import Prepared
from ._reading import read_report
from ._report import Report
from ._ssh import Connection, RefusedError
from ._text import size_text
from ._wheels import pack_wheel

__all__ = ["FORWARDED", "benchmark_on", "purge"]

#: What is passed on as it was typed. The rest is done here, or has to be made to fit.
FORWARDED = (
    *("runs", "warmup", "mlperf", "sustained", "operators", "seed", "threads", "runtime", "whole", "strict"),
    "no_accuracy",
    *("resize", "pixels", "color_order", "logits"),
)

_OWN = {"edgevision-device": "edgevision_device", "edgevision-benchmarks": "edgevision_benchmarks"}
_EXTRAS = {"litert": "litert", "tflite-runtime": "tflite", "onnxruntime": "onnx"}
_CHUNK = 1 << 18
#: What of pip's chatter is worth a line.
_PIP_STEPS = ("Downloading", "Installing collected")
_UNREACHABLE = re.compile(r"Retrying \(|NewConnectionError|name resolution|Network is unreachable")
_ERROR = b"edgevision-benchmark: error: "
_SKIPPED = b"skipped: "
_UNREADABLE = "unreadable.json"

#: The bytes of a file, or where they are.
_Content = Union[bytes, Path]


def benchmark_on(host: str, ready: Prepared, args: argparse.Namespace, data_name: Optional[str] = None) -> Report:
    """Measure on `host`, and return the report with the names that the files and pictures have here.

    Args:
        host: see `Connection`.
        ready: what `prepare` found here, before anything is copied.
        args: of `edgevision-benchmark`.
        data_name: what the report calls the pictures.

    Raises:
        HostError: the device cannot be reached, or cannot do it.
    """
    offline = None if args.wheels is None else _find_wheels(Path(args.wheels))
    contents, files = _files(ready, args)
    with Connection(host) as connection:
        device = _Device(connection)
        device.set_up(_extras(ready, args.runtime, device.bits), offline)
        device.copy(contents)
        here = _names_here(ready, args)
        text = device.run(files, _words(ready, args), here)
        if args.purge:
            try:
                device.purge()
            except HostError as error:  # what was measured is not lost for that
                print(f"not removed: {error}", file=sys.stderr)
    report = _read(host, text, None if args.out is None else Path(args.out))
    rows = tuple(
        dataclasses.replace(row, path=each.row.path, error=row.error and here(row.error))
        for row, each in zip(report.files, ready.candidates)
    )
    if [row.sha256 for row in rows] != [each.row.sha256 for each in ready.candidates]:
        raise HostError(f"{host}: it measured other files than these; --purge removes what is damaged there")
    known = ((each.label, digest) for each, digest in zip(ready.pictures, ready.digests) if digest is not None)
    if report.pictures.sha256 != hash_pictures(known):
        raise HostError(f"{host}: it measured other pictures than these; --purge removes what is damaged there")
    skipped = tuple(map(here, report.pictures.skipped))
    name = data_name or args.data or report.pictures.name
    pictures = dataclasses.replace(report.pictures, name=name, skipped=skipped)
    return dataclasses.replace(
        report,
        files=rows,
        pictures=pictures,
        command=shlex.join(args.command_line),
        thumbnails=make_thumbnails(rows, ready.path_of),
    )


def purge(host: str) -> None:
    """Remove everything from `host` that was ever put there."""
    with Connection(host) as connection:
        _Device(connection).purge()


class _Screen:
    """Shows what the command there says on stderr, up to its last lines, which are said here.

    Args:
        out: where it is shown.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._held = b""
        self._last = False

    def show(self, chunk: bytes) -> None:
        """Show what can be none of the last lines; a chunk may end anywhere."""
        self._held += chunk
        if not self._last:
            starts = [place for place in map(self._held.find, (_ERROR, _SKIPPED)) if place >= 0]
            self._last = bool(starts)
            self._pass(min(starts) if starts else len(self._held) - self._begun())

    def finish(self) -> str:
        """Show what else was held back, and return the error; empty where there is none."""
        before, _, error = self._held.partition(_ERROR)
        self._held = b"".join(line for line in before.splitlines(True) if not line.startswith(_SKIPPED))
        self._pass(len(self._held))
        return error.decode(errors="replace").strip()

    def _begun(self) -> int:
        """Return how many bytes at the end may be the beginning of a last line."""
        marks = (_ERROR[:size] for size in range(len(_ERROR))), (_SKIPPED[:size] for size in range(len(_SKIPPED)))
        return max(len(mark) for mark in chain(*marks) if self._held.endswith(mark))

    def _pass(self, size: int) -> None:
        self._out.write(self._held[:size])
        self._out.flush()
        self._held = self._held[size:]


class _Device:
    """What can be done there, and a line on stderr for each step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[str, Any] = {}
        self._found = self._ask("looking what is there", "open")
        self.bits: int = self._found["bits"]

    def set_up(self, extras: list[str], offline: Optional[list[Path]]) -> None:
        """Make the environment, unless the one that is there will do."""
        own = dict(pack_wheel(distribution, package) for distribution, package in _OWN.items())
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in own.items()}
        there = self._found["made_of"] or {"own": {}, "extras": []}
        if there["own"] == hashes and set(extras) <= set(there["extras"]):
            return
        if not self._found["venv"]:
            raise HostError(f"{self._host}: its python3 has no venv; there: sudo apt install python3-venv")
        contents: dict[str, _Content] = {hashes[name]: content for name, content in own.items()}
        wheels = dict(hashes)
        for path in offline or []:
            if not any(path.name.startswith(f"{package}-") for package in _OWN.values()):
                wheels[path.name] = _hash_file(path)
                contents[wheels[path.name]] = path
        self._say(f"setting up {self._found['place']}, which takes a few minutes the first time")
        self.copy(contents, "wheels")
        wanted = sorted({*extras, *there["extras"]})
        self._ask(
            "setting up",
            "install",
            wheels=wheels,
            own=list(own),
            requirements=[f"edgevision-device[{','.join(wanted)}]", "edgevision-benchmarks"],
            offline=offline is not None,
            made_of={"own": hashes, "extras": wanted},
        )

    def copy(self, contents: Mapping[str, _Content], what: str = "files") -> None:
        """Copy what is not there yet, in one stream."""
        sizes = {sha256: _size(content) for sha256, content in contents.items()}
        missing: list[str] = self._ask("copying", "missing", blobs=list(sizes.items()))["blobs"]
        total = sum(sizes[sha256] for sha256 in missing)
        with _copy_bar(total) as advance:
            pieces = _pieces([(contents[sha256], sizes[sha256]) for sha256 in missing], advance)
            self._ask("copying", "receive", pieces, blobs=[(sha256, sizes[sha256]) for sha256 in missing])
        copied = f"copied {len(missing)} of {len(sizes)} {what}, {size_text(total)}"
        self._say(copied if missing else f"nothing to copy: all {len(sizes)} {what} are there")

    def run(self, files: Mapping[str, str], words: list[str], here: Callable[[str], str]) -> bytes:
        """Run `edgevision-benchmark` there, with its progress on our stderr, and return what it printed."""
        printed, screen, error = bytearray(), _Screen(sys.stderr.buffer), ""

        def show(stream: str, chunk: bytes) -> None:
            (printed.extend if stream == "stdout" else screen.show)(chunk)

        size = shutil.get_terminal_size()
        terminal = [size.columns, size.lines] if sys.stderr.isatty() else None
        ended = False
        try:
            code = self._connection.ask(
                "measuring", "run", show, files=files, words=["edgevision-benchmark", *words], terminal=terminal
            )["code"]
            ended = True
        except RefusedError as refused:
            raise self._explain(refused, []) from None
        finally:
            error = screen.finish()
            if terminal and not ended:
                sys.stderr.write("\x1b[?25h\n")  # the cursor, which its progress bar hides
        if error:
            raise HostError(f"{self._host}: {here(error)}")
        if code not in (0, 1):
            advice = "; most likely the system ran out of memory" if code == -9 else ""
            raise HostError(f"{self._host}: edgevision-benchmark ended there with code {code}{advice}")
        return bytes(printed)

    def purge(self) -> None:
        """Remove everything."""
        removed = self._ask("removing what is there", "purge")["size_bytes"]
        self._say(f"removed {self._found['place']}, {size_text(removed)}")

    @property
    def _host(self) -> str:
        return self._connection.host

    def _say(self, line: str) -> None:
        print(f"{self._host}: {line}", file=sys.stderr)

    def _ask(self, doing: str, do: str, pieces: Iterable[bytes] = (), **more: Any) -> dict[str, Any]:
        said = bytearray()

        def listen(stream: str, chunk: bytes) -> None:
            start = said.rfind(b"\n") + 1
            said.extend(chunk)
            for line in _lines(said[start : said.rfind(b"\n") + 1]):
                if line.startswith(_PIP_STEPS):
                    self._say(line)

        try:
            return self._connection.ask(doing, do, listen, pieces, **more)
        except RefusedError as refused:
            raise self._explain(refused, _lines(said)) from None

    def _explain(self, refused: RefusedError, log: list[str]) -> HostError:
        """Turn a refusal into a line that says what to do."""
        text = "\n".join(log)
        errors = [line for line in log if line.startswith("ERROR:")] or log[-1:]
        detail = "; ".join(errors) or refused.detail
        place = self._found.get("place", "its cache")
        if refused.reason == "full" or "No space left on device" in text:
            why = refused.detail if refused.reason == "full" else detail
            line = f"no space is left for {place} ({why}); free some there, or remove it with --purge"
        elif refused.reason == "busy":
            line = "another benchmark runs there; wait for it (one whose connection was lost ends within a minute)"
        elif refused.reason == "changed":
            line = "a file changed while it was copied; start again"
        elif refused.reason == "unsafe":
            line = f"{refused.detail} is another user's, or others may write there; remove it, or take that right away"
        elif refused.reason == "pip" and _UNREACHABLE.search(text):
            line = f"pip reached no package index from there ({detail}); give it a network, or wheels with --wheels DIR"
        elif refused.reason == "pip":
            line = f"pip could not install what is needed ({detail}); --wheels DIR gives it wheels from here"
        elif refused.reason == "venv":
            line = f"python3 -m venv failed there ({detail}); there: sudo apt install python3-venv"
        else:
            line = f"{refused.detail}; mend it there, or remove what is there with --purge and start again"
        return HostError(f"{self._host}: {line}")


def _read(host: str, text: bytes, out: Optional[Path]) -> Report:
    """Read the report that came back; what is none took as long to make, and is kept in `out`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        path.write_bytes(text)
        try:
            return read_report(path)
        except FileError as error:
            kept = "with --out it is kept"
            if out is not None:
                write_atomically(out / _UNREADABLE, text)
                kept = f"it is kept in {out / _UNREADABLE}"
            raise HostError(f"{host}: what came back is no report ({error}); {kept}; report this as a bug") from error


def _extras(ready: Prepared, runtime: Optional[str], bits: int) -> list[str]:
    """Return what of the device's extras the files need there: LiteRT has no wheels for 32 bits."""
    formats = {each.row.format for each in ready.candidates}
    tflite = _EXTRAS.get(runtime or "", "litert" if bits == 64 else "tflite")
    chosen = {"tflite": tflite, "onnx": "onnx"}
    return sorted({"camera", *(chosen[format] for format in formats if format is not None)})


def _files(ready: Prepared, args: argparse.Namespace) -> tuple[dict[str, _Content], dict[str, str]]:
    """Return what is to be there: the contents by their SHA-256, and the SHA-256 of each name."""
    contents: dict[str, _Content] = {}
    names: dict[str, str] = {}
    for each in ready.candidates:
        names[f"files/{each.row.name}"] = each.row.sha256
        contents[each.row.sha256] = Path(each.row.path)
    folder = "" if args.data is None else _data_folder(ready, args)
    for picture, digest in zip(ready.pictures, ready.digests):
        if digest is None:
            raise PictureError(f"cannot read the picture {picture.path}; change its permissions, or remove it")
        part = f"{ready.split}/" if ready.split else ""
        names[f"{folder}/{part}{picture.path.relative_to(ready.home).as_posix()}"] = digest
        contents[digest] = picture.path
    if args.labels is not None:
        names["labels.txt"] = _hash_file(Path(args.labels))
        contents[names["labels.txt"]] = Path(args.labels)
    return contents, names


def _data_folder(ready: Prepared, args: argparse.Namespace) -> str:
    # By its name a folder may be known as what a file was trained on: it must not get another one.
    return f"data/{(Path(args.data) if ready.split else ready.home).resolve().name or 'pictures'}"


def _names_here(ready: Prepared, args: argparse.Namespace) -> Callable[[str], str]:
    """Return what gives a text from there the names that files and pictures have here."""
    names = {f"files/{each.row.name}": each.row.path for each in ready.candidates}
    if args.data is not None:
        folder = _data_folder(ready, args)
        names.update(
            {folder: str(args.data), f"{folder}/{ready.split}/" if ready.split else f"{folder}/": f"{ready.home}/"}
        )
    longest_first = sorted(names, key=len, reverse=True)
    known = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest_first))})")
    return lambda text: known.sub(lambda found: names[found[0]], text)


def _words(ready: Prepared, args: argparse.Namespace) -> list[str]:
    """Return the arguments of the command there."""
    words = [f"files/{each.row.name}" for each in ready.candidates]
    words += [f"--reference=files/{ready.reference}"]
    words += ["--json"] if args.data is None else ["--data", _data_folder(ready, args), "--json"]
    for name in FORWARDED:
        value, flag = getattr(args, name), f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [] if value is None or value is False else [f"{flag}={value}"]
    words += [f"--thread-sweep={','.join(map(str, args.thread_sweep))}"] if args.thread_sweep else []
    return words + (["--labels", "labels.txt"] if args.labels is not None else [])


def _lines(said: bytearray) -> list[str]:
    return [line.strip() for line in said.decode(errors="replace").splitlines()]


def _find_wheels(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise UsageError(f"{folder} holds no wheels; --wheels takes a folder that `pip download` filled")
    return found


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_CHUNK), b""):
            digest.update(piece)
    return digest.hexdigest()


def _size(content: _Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _pieces(contents: list[tuple[_Content, int]], advance: Callable[[int], None]) -> Iterator[bytes]:
    """Yield exactly the bytes that were announced."""
    for content, size in contents:
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            while size:
                # A file that became shorter goes on with zeros: the other end finds that its hash is another one.
                piece = file.read(min(size, _CHUNK)) or bytes(min(size, _CHUNK))
                size -= len(piece)
                advance(len(piece))
                yield piece


@contextmanager
def _copy_bar(total: int) -> Generator[Callable[[int], None], None, None]:
    """Show a bar on a terminal, where there is something to copy."""
    if not total or not sys.stderr.isatty():
        yield lambda size: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("copying"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("copying", total=total)
        yield lambda size: progress.advance(task, size)

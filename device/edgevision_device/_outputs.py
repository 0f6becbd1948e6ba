"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path

from ._errors import UsageError

__all__ = ["check_outputs", "write_atomically", "writing"]


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], *, mode: int = 0o666) -> Generator[Path, None, None]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it.

    It has `mode`, less the umask, from the start. The temporary name keeps the suffix, because some writers choose the
    format by it. Raises UsageError if `path` is there and no regular file: renaming would replace a device or a pipe.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no regular file; choose another --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    # Not mkstemp, whose files only the owner can read: an output follows the umask, as any other file does.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        # What is written to, rather than a descriptor or our name for it. Without a number it says what it has to say.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, mode: int = 0o666) -> None:
    """Write bytes, or text as UTF-8, under a temporary name and rename it to `path`; see `writing`."""
    with writing(path, mode=mode) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def check_outputs(paths: list[Path], *, overwrite: bool, flag: str = "--out") -> None:
    """Raise UsageError if one of `paths`, given by `flag`, cannot be written, or exists without `overwrite`.

    Call it before slow work.
    """
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UsageError(f"{existing[0]}{more} exists already; choose another {flag}, or pass --overwrite")
    for path in paths:
        place = next(each for each in path.absolute().parents if each.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise UsageError(f"cannot write {path}: {place} is no folder that can be written to; choose another {flag}")

"""Every exception that edgevision raises on purpose.

EdgevisionError                 exit code 2: something the caller gave cannot be used
├── UsageError                  an unknown name, a bad value, an output that exists already
├── DataError                   a folder of pictures that is missing, empty or badly laid out
│   └── PictureError            one picture that cannot be decoded
├── FileError                   a model file that cannot be used
│   ├── DamagedFileError        edgevision wrote it, and it is no longer what was written
│   └── ForeignFileError        edgevision did not write it, and what it lacks was not given
├── SourceError                 a camera, clip or address that gives no frames
├── HostError                   another device that --host names, or the way there
├── MissingPackageError         an optional package that this step needs
└── CheckError                  exit code 1: the work was done and its result is not good enough
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

__all__ = [
    "CheckError",
    "DamagedFileError",
    "DataError",
    "EdgevisionError",
    "FileError",
    "ForeignFileError",
    "HostError",
    "MissingPackageError",
    "PictureError",
    "SourceError",
    "UsageError",
    "closest",
    "require_known",
]


class EdgevisionError(Exception):
    """Base of all errors below. The message is one line: what, got, allowed, what to do."""

    exit_code = 2


class UsageError(EdgevisionError):
    """An unknown name, a value out of range, or an output that exists already."""


class DataError(EdgevisionError):
    """A folder of pictures that is missing, empty or badly laid out."""


class PictureError(DataError):
    """One picture that cannot be decoded."""


class FileError(EdgevisionError):
    """A model file that cannot be used."""


class DamagedFileError(FileError):
    """The file carries edgevision's seal, and its bytes do not match it."""


class ForeignFileError(FileError):
    """The file was not written by edgevision, and what it does not say was not given."""


class SourceError(EdgevisionError):
    """A camera, clip or address that gives no frames."""


class HostError(EdgevisionError):
    """Another device that cannot be reached, or cannot do what is asked of it."""


class MissingPackageError(EdgevisionError):
    """An optional package that this step needs. The message holds the install command."""


class CheckError(EdgevisionError):
    """The work was done, and its result is not good enough."""

    exit_code = 1


def require_known(kind: str, got: str, allowed: Iterable[str]) -> str:
    """Return `got` if it is one of `allowed`; else raise UsageError that names the closest match.

    >>> require_known("recipe", "int8", ["float32", "int8"])
    'int8'
    >>> require_known("recipe", "int9", ["float32", "int8"])
    Traceback (most recent call last):
        ...
    edgevision_device._errors.UsageError: unknown recipe 'int9'; did you mean 'int8'? known: float32, int8
    """
    names = list(allowed)
    if got in names:
        return got
    close = closest(got, names)
    hint = ";" if close is None else f"; did you mean {close!r}?"
    raise UsageError(f"unknown {kind} {got!r}{hint} known: {', '.join(names)}")


def closest(got: str, known: Iterable[str]) -> Optional[str]:
    """Return the name that was perhaps meant; None if none is like it."""
    import difflib  # takes longer than the rest of this module

    return next(iter(difflib.get_close_matches(got, list(known), n=1)), None)

"""Wheels of what runs here, made from what is installed: from a checkout or from wheels, the device gets the same."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import import_module, metadata
from pathlib import Path

__all__ = ["pack_wheel"]

_WHEEL = "Wheel-Version: 1.0\nGenerator: edgevision\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pack_wheel(distribution: str, package: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a wheel of an installed distribution that is Python alone.

    The same files always give the same bytes: no times, no compression.

    Args:
        distribution: what pip calls it.
        package: its only package.

    >>> pack_wheel("edgevision-device", "edgevision_device")[0].startswith("edgevision_device-")
    True
    """
    installed = metadata.distribution(distribution)
    title = f"{distribution.replace('-', '_')}-{installed.version}"
    folder = Path(import_module(package).__file__ or "").parent
    contents = {
        f"{package}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    texts = {"METADATA": installed.read_text("METADATA"), "WHEEL": _WHEEL}
    texts["entry_points.txt"] = installed.read_text("entry_points.txt")
    contents.update({f"{title}.dist-info/{name}": text.encode() for name, text in texts.items() if text})
    record = f"{title}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in contents.items()]
    contents[record] = "".join([*lines, f"{record},,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return f"{title}-py3-none-any.whl", buffer.getvalue()


def _digest(content: bytes) -> str:
    """Return what a wheel's RECORD holds of a file (PEP 376)."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

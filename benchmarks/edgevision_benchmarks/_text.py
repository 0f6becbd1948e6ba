"""Numbers for people: three digits that matter, and a unit."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "disturbed_text",
    "interval_text",
    "ms_text",
    "percent_text",
    "points_text",
    "printable",
    "ratio_text",
    "size_text",
]


def percent_text(share: float) -> str:
    """Write a share between 0 and 1 as per cent, without the sign.

    >>> percent_text(0.9734)
    '97.3'
    """
    return f"{100 * share:.1f}"


def interval_text(interval: tuple[float, float]) -> str:
    """Write an interval of shares as per cent, without the sign.

    >>> interval_text((0.9536, 1.0))
    '95.4–100.0'
    """
    return "\u2013".join(percent_text(share) for share in interval)


def points_text(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign.

    >>> [points_text(share) for share in (-0.00312, 0.0001, 0.25)]
    ['−0.3', '0.0', '+25.0']
    """
    points = round(100 * share, 1)
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}") if points else "0.0"


def ms_text(milliseconds: float) -> str:
    """Write a time with about three digits.

    >>> [ms_text(ms) for ms in (0.0612, 1.234, 12.34, 123.4)]
    ['0.061', '1.23', '12.3', '123']
    """
    decimals = next((digits for limit, digits in ((1, 3), (10, 2), (100, 1)) if milliseconds < limit), 0)
    return f"{milliseconds:.{decimals}f}"


def ratio_text(ratio: float) -> str:
    """Write a ratio with three digits that matter.

    >>> [ratio_text(ratio) for ratio in (0.0312, 0.25, 1.0, 13.72)]
    ['0.031', '0.25', '1.00', '13.7']
    """
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def size_text(size_bytes: float) -> str:
    """Write a size with about three digits; 1 kB is 1,000 bytes.

    >>> [size_text(size) for size in (812, 18_240, 4_703_000, 23_000_000)]
    ['812 B', '18.2 kB', '4.70 MB', '23.0 MB']
    """
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    value, unit = (size_bytes / 1e3, "kB") if size_bytes < 1e6 else (size_bytes / 1e6, "MB")
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f} {unit}"


def disturbed_text(name: str, reasons: Iterable[str]) -> str:
    """Say that a verdict rests on a time of this file, and what makes the time doubtful.

    >>> disturbed_text("a.tflite", ["the processor was throttled"])
    'warning: a.tflite: a disturbed time decided: the processor was throttled'
    """
    return f"warning: {name}: a disturbed time decided: {'; '.join(reasons)}"


def printable(text: str) -> str:
    r"""Replace what cannot be drawn or encoded: control characters, and bytes of a name that are no UTF-8.

    >>> printable("a\nb\udcff")
    'a�b�'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)

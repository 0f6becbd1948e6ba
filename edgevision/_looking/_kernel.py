"""Applying a kernel to a picture, as a convolution layer does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import UsageError, load_opencv, require_known

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["BORDERS", "KERNELS", "SHOWN", "apply_kernel", "parse_kernel", "shown_pixels", "to_grey"]

#: What lies outside of the picture: zeros, as in a network with padding "same"; the picture mirrored without its outer
#: row; its outer row again; or nothing ("valid"): the result is smaller by the kernel's size less one.
BORDERS = ("zero", "mirror", "repeat", "valid")

#: How a result that leaves 0..255 becomes pixels.
SHOWN = ("clip", "absolute", "fit")

#: Kernels with a name: text as on the command line, and what to divide by. A network's convolution does not turn the
#: kernel around, so sobel-x answers positively where it gets brighter to the right.
KERNELS = {
    "blur": ("1,2,1; 2,4,2; 1,2,1", 16.0),
    "box": ("1,1,1; 1,1,1; 1,1,1", 9.0),
    "edges": ("-1,-1,-1; -1,8,-1; -1,-1,-1", 1.0),
    "emboss": ("-2,-1,0; -1,1,1; 0,1,2", 1.0),
    "identity": ("1", 1.0),
    "sharpen": ("0,-1,0; -1,5,-1; 0,-1,0", 1.0),
    "sobel-x": ("-1,0,1; -2,0,2; -1,0,1", 1.0),
    "sobel-y": ("-1,-2,-1; 0,0,0; 1,2,1", 1.0),
}

_LARGEST = 255


def parse_kernel(text: str, divide: float | None = None) -> npt.NDArray[np.float64]:
    """Read a kernel: one of `KERNELS`, or numbers with commas or blanks between them and semicolons between rows.

    Args:
        text: such as `sharpen` or `0,-1,0; -1,5,-1; 0,-1,0`.
        divide: divides every number; None is 1, and for a kernel with a name what belongs to it.

    Returns:
        float64, `(height, width)`.

    Raises:
        UsageError: the text is no such kernel.

    >>> parse_kernel("1,2,1", divide=4).tolist()
    [[0.25, 0.5, 0.25]]
    """
    if any(character.isalpha() and character not in "eE" for character in text):
        text, own = KERNELS[require_known("kernel", text.strip(), KERNELS)]
        divide = own if divide is None else divide
    lines = text.strip().removesuffix(";").split(";")
    rows = [line.split(",") if "," in line else line.split() for line in lines]
    try:
        numbers = [[float(number) for number in row] for row in rows]
    except ValueError as error:
        raise UsageError(
            f"cannot read the kernel {text!r} ({error}); give numbers such as '0,-1,0; -1,5,-1; 0,-1,0', or one of "
            f"{', '.join(KERNELS)}"
        ) from error
    widths = [len(row) for row in numbers]
    if len(set(widths)) != 1 or not widths[0]:
        raise UsageError(f"the rows of a kernel are equally long, got {', '.join(map(str, widths))} numbers: {text!r}")
    if len(numbers) > _LARGEST or widths[0] > _LARGEST:
        raise UsageError(f"a kernel has at most {_LARGEST} x {_LARGEST} numbers, got {widths[0]} x {len(numbers)}")
    kernel = np.array(numbers) / (1.0 if divide is None else _checked(divide))
    if not np.isfinite(kernel).all():
        raise UsageError(f"a kernel holds finite numbers only, got {text!r}")
    return kernel


def _checked(divide: float) -> float:
    if divide == 0 or not np.isfinite(divide):
        raise UsageError(f"a kernel cannot be divided by {divide:g}; give another --divide")
    return divide


def apply_kernel(
    picture: npt.NDArray[np.uint8], kernel: npt.NDArray[np.float64], border: str = "zero"
) -> npt.NDArray[np.float64]:
    """Convolve each channel of a picture with a kernel, as networks do: the kernel is laid on the picture unturned.

    (In signal processing this is the cross-correlation.) A kernel of even height or width has its middle left of and
    above its center, which is where TensorFlow's padding "same" puts it.

    Args:
        picture: uint8 RGB, `(height, width, 3)`.
        kernel: `(height, width)`.
        border: one of `BORDERS`.

    Returns:
        float64, `(height, width, 3)`, neither rounded nor clipped; smaller for the border `valid`.

    Raises:
        UsageError: an unknown border, or a kernel larger than the picture with `valid`.
    """
    cv2 = load_opencv()
    require_known("border", border, BORDERS)
    (height, width), (rows, columns) = picture.shape[:2], kernel.shape
    above, left = (rows - 1) // 2, (columns - 1) // 2
    if border == "valid" and (rows > height or columns > width):
        raise UsageError(
            f"a kernel of {columns}x{rows} has no place in a picture of {width}x{height} without a border; "
            f"give another --border ({', '.join(BORDERS)})"
        )
    outside = {"mirror": cv2.BORDER_REFLECT_101, "repeat": cv2.BORDER_REPLICATE}.get(border, cv2.BORDER_CONSTANT)
    result = cv2.filter2D(picture, cv2.CV_64F, kernel, anchor=(left, above), borderType=outside)
    if border == "valid":
        result = result[above : above + height - rows + 1, left : left + width - columns + 1]
    return np.ascontiguousarray(result)


def shown_pixels(values: npt.NDArray[np.float64], how: str = "clip") -> npt.NDArray[np.uint8]:
    """Turn numbers into pixels.

    Args:
        values: of any range.
        how: `clip` cuts off what is below 0 and above 255, `absolute` leaves out the sign first, `fit` maps smallest
            to 0 and largest to 255.

    >>> shown_pixels(np.array([-300.0, -20.0, 100.0]), "absolute").tolist()
    [255, 20, 100]
    """
    require_known("way to show numbers", how, SHOWN)
    if how == "absolute":
        values = np.abs(values)
    if how == "fit":
        low, high = values.min(), values.max()
        values = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 127)
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def to_grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture without its colors, as three equal channels."""
    cv2 = load_opencv()
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

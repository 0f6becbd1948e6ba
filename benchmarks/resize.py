"""What making pictures smaller costs, and how close it comes to averaging: `python benchmarks/resize.py`.

`edgevision_device.preprocess` against the one-step ways of OpenCV, on one thread: INTER_AREA, which averages over
exactly the pixels that become one, and INTER_LINEAR, which skips most of them. Each round runs all three on the same
picture, so that a machine that slows down slows them all; times are ratios to INTER_AREA's, the median of the rounds
with its 95 % interval. Beside them the mean difference of a pixel from INTER_AREA's, of 255, over photographs inside
scikit-image.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from edgevision_device import preprocess
from stream_overhead import median_interval

Picture = npt.NDArray[np.uint8]

SOURCES_WH = ((640, 480), (1280, 720), (1920, 1080))
NETWORKS_WH = ((96, 96), (160, 160), (224, 224))
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def one_step(interpolation: int) -> Callable[[Picture, tuple[int, int]], Any]:
    """Return a resize by OpenCV alone."""
    return lambda picture, size_wh: cv2.resize(picture, size_wh, interpolation=interpolation)


WAYS: dict[str, Callable[[Picture, tuple[int, int]], Any]] = {
    "INTER_AREA": one_step(cv2.INTER_AREA),
    "preprocess": lambda picture, size_wh: preprocess(picture, size_wh, "stretch")[0],
    "INTER_LINEAR": one_step(cv2.INTER_LINEAR),
}


def seconds(way: Callable[[Picture, tuple[int, int]], Any], picture: Picture, size_wh: tuple[int, int]) -> float:
    """Time five calls."""
    began = time.perf_counter()
    for _ in range(5):
        way(picture, size_wh)
    return time.perf_counter() - began


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, metavar="N")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    originals = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    print("from         to         way           time / INTER_AREA's     ms   difference")
    for source_wh in SOURCES_WH:
        pictures = [cv2.resize(each, source_wh, interpolation=cv2.INTER_CUBIC).astype(np.uint8) for each in originals]
        for size_wh in NETWORKS_WH:
            taken: dict[str, list[float]] = {name: [] for name in WAYS}
            for number in range(args.rounds + 1):
                for name, way in WAYS.items():
                    took = seconds(way, pictures[number % len(pictures)], size_wh)
                    if number:  # the first warms up
                        taken[name].append(took)
            for name, way in WAYS.items():
                ratios = [ours / area for ours, area in zip(taken[name], taken["INTER_AREA"], strict=True)]
                low, high = median_interval(ratios)
                apart = [
                    np.abs(way(each, size_wh).astype(int) - WAYS["INTER_AREA"](each, size_wh)).mean()
                    for each in pictures
                ]
                print(
                    f"{source_wh[0]:4} x {source_wh[1]:4}  {size_wh[0]:3} x {size_wh[1]:3}  {name:12}  "
                    f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})  "
                    f"{200 * statistics.median(taken[name]):8.3f}   {np.mean(apart):.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

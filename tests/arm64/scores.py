"""What one Python, on one processor, makes of pictures: `python scores.py OUT.npz PICTURES.npz RUNTIME FILE…`.

Writes `resized/<mode>/<picture>`, and for each file that the runtime reads `pixels/<file>/<picture>`, what
preprocessing hands to the network, and `scores/<file>`, `(pictures, labels)`. Prints the versions as JSON.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import cv2
import numpy as np

from edgevision_device import RESIZE_MODES, RUNTIMES, Classifier, preprocess

#: Neither is square, and neither divides most pictures: averaging and interpolation both count.
SIZES_WH = ((224, 160), (37, 50))


def main() -> None:
    """Run the command."""
    out, pictures_path, runtime, *files = sys.argv[1:]
    with np.load(pictures_path) as stored:
        pictures = {name: stored[name] for name in stored.files}
    made: dict[str, np.ndarray] = {}
    for name, picture in pictures.items():
        for mode in RESIZE_MODES:
            for width, height in SIZES_WH:
                made[f"resized/{mode}-{width}x{height}/{name}"] = preprocess(
                    picture, (width, height), mode, picture_order="bgr"
                )
    version = "none"
    for file in map(Path, files):
        if runtime not in RUNTIMES[file.suffix[1:]]:
            continue
        classifier = Classifier(file, runtime=runtime, threads=1)
        version = classifier.runtime.version
        scores: list[np.ndarray] = []
        for name, picture in pictures.items():
            pixels_nhwc = classifier.preprocess(picture)
            made[f"pixels/{file.name}/{name}"] = pixels_nhwc
            scores.append(classifier.run(pixels_nhwc))
        made[f"scores/{file.name}"] = np.stack(scores)
    np.savez(out, **made)  # type: ignore[arg-type]
    told = {
        "machine": platform.machine(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "runtime": runtime,
        "version": version,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()

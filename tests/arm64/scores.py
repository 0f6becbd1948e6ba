"""What one Python, on one processor, makes of pictures: `python scores.py OUT.npz PICTURES.npz RUNTIME FILE…`.

Writes `resized/<mode>/<picture>`, and for each file that the runtime reads `pixels/<file>/<picture>`, what
preprocessing hands to the network, and `scores/<file>`, `(pictures, labels)`. Of an int8 `.tflite` file also
`tensors/<file>/<number>`, the input and what each layer gives, `(pictures, …)`, the weights,
`constants/<file>/<number>`, and of all these the quantization, `scales/<file>/<number>` and `zeros/<file>/<number>`.
Prints the versions and the layers as JSON.
"""

from __future__ import annotations

import json
import platform
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np

from edgevision_device import RESIZE_MODES, RUNTIMES, Classifier, preprocess
from edgevision_device._runtimes import load_runtime

#: Kind, inputs and output of a layer, as numbers of tensors.
Layer = tuple[str, list[int], int]

#: Neither is square, and neither divides most pictures: averaging and interpolation both count.
SIZES_WH = ((224, 160), (37, 50))


def keep_layers(file: Path, runtime: str, pixels: list[np.ndarray], made: dict[str, np.ndarray]) -> list[Layer]:
    """Run a file so that the output of every layer can be read; return each layer's kind, inputs and output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is meant for debugging
        interpreter = load_runtime(runtime).Interpreter(
            model_content=file.read_bytes(), num_threads=1, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    layers = [
        (each["op_name"], each["inputs"].tolist(), int(each["outputs"][0]))
        for each in interpreter._get_ops_details()
        if each["op_name"] != "DELEGATE"
    ]
    (first,) = interpreter.get_input_details()
    changing = {index: [] for index in (first["index"], *(layer[2] for layer in layers))}
    for each in pixels:
        interpreter.set_tensor(first["index"], each)
        interpreter.invoke()
        for index, values in changing.items():
            values.append(interpreter.get_tensor(index)[0])
    for details in interpreter.get_tensor_details():
        index = details["index"]
        if index in changing:
            made[f"tensors/{file.name}/{index}"] = np.stack(changing[index])
        elif any(index in layer[1] for layer in layers):
            made[f"constants/{file.name}/{index}"] = interpreter.get_tensor(index)
        else:
            continue
        made[f"scales/{file.name}/{index}"] = details["quantization_parameters"]["scales"]
        made[f"zeros/{file.name}/{index}"] = details["quantization_parameters"]["zero_points"]
    return layers


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
    layers: dict[str, list[Layer]] = {}
    for file in map(Path, files):
        if runtime not in RUNTIMES[file.suffix[1:]]:
            continue
        classifier = Classifier(file, runtime=runtime, threads=1)
        version = classifier.runtime.version
        pixels = {name: classifier.preprocess(picture) for name, picture in pictures.items()}
        made |= {f"pixels/{file.name}/{name}": each for name, each in pixels.items()}
        made[f"scores/{file.name}"] = np.stack([classifier.run(each) for each in pixels.values()])
        if file.name.endswith(".int8.tflite"):
            layers[file.name] = keep_layers(file, runtime, list(pixels.values()), made)
    np.savez(out, **made)  # type: ignore[arg-type]
    told = {
        "machine": platform.machine(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "runtime": runtime,
        "version": version,
        "layers": layers,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()

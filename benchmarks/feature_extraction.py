"""Features computed once against the textbook's frozen base inside `fit`, in one run.

    python benchmarks/feature_extraction.py stamps/ --epochs 20
    python benchmarks/feature_extraction.py stamps/ --epochs 20 --copies 4 --flip --shift 0.1

Both train the same head on the same frozen network, pictures, batches, optimizer and seed, from decoded pictures to the
accuracy of every part. The textbook runs the frozen network in every epoch; edgevision runs it once per picture, here
with an empty cache, so that nothing is left over from an earlier run. With augmentation the textbook changes pictures
anew every epoch, and edgevision takes turns among `--copies` of each: less variety for less time, both told.
`benchmarks/stamps.py` makes a folder to run this on. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgevision import Augmentation, TrainingOptions, load_data, train
from edgevision_benchmarks import Accuracy, compare_paired


def textbook(data: str, options: TrainingOptions, augmentation: Augmentation) -> tuple[float, np.ndarray]:
    """Train the way of Keras's guide: `base.trainable = False`, then fit from pixels.

    Returns:
        seconds, and the predicted label of each val picture.
    """
    import keras

    from edgevision._batches import Changes, make_batches
    from edgevision._fit import Phase, prepare
    from edgevision._networks import NETWORKS
    from edgevision._transfer import make_head

    network = NETWORKS[options.model]
    size_wh = options.size_wh or network.size_wh
    assert size_wh is not None
    splits = load_data(data, size_wh, options.resize)
    keras.utils.set_random_seed(options.seed)
    body = network.body(size_wh)
    network.load(body, options.weights)
    body.trainable = False
    x = keras.layers.Dropout(network.dropout)(body(body.inputs[0], training=False))
    model: Any = keras.Model(body.inputs[0], make_head("softmax", len(splits.labels))(x))
    began = time.perf_counter()
    changes = Changes(splits.train, augmentation, options.seed)
    batches = make_batches(changes, options.batch_size, shuffle=True)
    unchanged = [Changes(part, Augmentation(), options.seed) for part in (splits.val, splits.test, splits.train)]
    val, *others = [make_batches(each, options.batch_size, shuffle=False) for each in unchanged if len(each.pictures)]
    phase = Phase("head", options.epochs, options.learning_rate or 1e-2, "softmax", len(splits.labels))
    prepare(model, options, phase, len(batches))
    best = keras.callbacks.EarlyStopping("val_loss", patience=options.epochs, restore_best_weights=True)
    model.fit(batches, validation_data=val, epochs=options.epochs, callbacks=[best], shuffle=False, verbose=0)
    predicted = np.asarray(model.predict(val, verbose=0)).argmax(1)
    for other in others:  # edgevision's run says the accuracy of every part, so this one does
        model.predict(other, verbose=0)
    return time.perf_counter() - began, predicted


def ours(data: str, options: TrainingOptions, scratch: Path) -> tuple[float, np.ndarray]:
    """Train by `edgevision.train` with no feature in the cache."""
    import keras

    run = train(data, scratch / "run", options)
    record = json.loads((run.folder / "run.json").read_text())
    model: Any = keras.models.load_model(run.model_path, compile=False)
    val = load_data(data, run.size_wh, run.resize).val
    scores = [np.asarray(model(pixels.astype(np.float32), training=False)) for pixels in val.batches(32)]
    return record["training_seconds"], np.concatenate(scores).argmax(1)


def main() -> None:
    """Measure both, print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--weights", help="ImageNet weights (default: the published ones)")
    parser.add_argument("--copies", type=int, default=0)
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--shift", type=float, default=0.0)
    args = parser.parse_args()
    augmentation = Augmentation(flip=args.flip, shift=args.shift)
    options = TrainingOptions(
        args.model, epochs=args.epochs, weights=args.weights, augmentation=augmentation, copies=args.copies
    )
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["EDGEVISION_CACHE"] = scratch
        seconds, mine = ours(args.data, options, Path(scratch))
        textbook_seconds, theirs = textbook(args.data, options, augmentation)
        size = options.size_wh or _size(args.model)
        val = load_data(args.data, size, options.resize).val
    right_theirs, right_mine = theirs == val.targets, mine == val.targets
    for name, took, right in (("textbook", textbook_seconds, right_theirs), ("edgevision", seconds, right_mine)):
        print(f"{name:10}  {took:7.1f} s  val top-1 {Accuracy.of(right).describe()} of {len(right)} pictures")
    print(f"{textbook_seconds / seconds:.1f} times faster; {compare_paired(right_theirs, right_mine).describe()}")


def _size(model: str) -> tuple[int, int]:
    from edgevision._networks import NETWORKS

    size_wh = NETWORKS[model].size_wh
    assert size_wh is not None
    return size_wh


if __name__ == "__main__":
    main()

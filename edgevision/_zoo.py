"""The networks that fit a phone, as files to be measured: `edgevision benchmark --zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_benchmarks import NetworkCost, command
from edgevision_device import DataError, UsageError, find_parts, require_known

from ._imagenet_files import NetworkFiles, parse_weights
from ._networks import NETWORKS, PRETRAINED, RANDOM, imagenet_labels
from ._photos import VERIFICATION_PHOTOS, photo_crops
from ._progress import say

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import numpy.typing as npt

__all__ = ["MOST_BYTES", "TOO_LARGE", "ZOO", "run_zoo"]

#: The float32 file of a network that fits a phone has at most so many bytes: what Google Play lets an app's base module
#: have (https://support.google.com/googleplay/android-developer/answer/9859372).
MOST_BYTES = 200_000_000
#: Networks whose files are larger, and the bytes of their weights in float32. To make one takes some 16 GB of memory.
TOO_LARGE = {"vgg16": 4 * 138_357_544}
#: Those that fit.
ZOO = tuple(name for name in PRETRAINED if name not in TOO_LARGE)

_RECIPES = ("float32", "int8")
#: Pictures on which a file is compared with its Keras model.
_VERIFICATION = 6
_FOREIGN = ("labels", "resize", "pixels", "color_order", "logits")


def run_zoo(args: argparse.Namespace) -> int:
    """Make the files, then measure them as `edgevision benchmark` does; without --data all but accuracy.

    Args:
        args: of `edgevision benchmark`. With --out the files are kept, beside the report.

    Raises:
        UsageError: arguments that do not go together, or an unknown network; before anything slow.
        DataError: a folder whose name is no label of ImageNet.
        FileError, MissingPackageError: see `NetworkFiles`.
    """
    networks = _networks(args)
    args.no_accuracy = args.no_accuracy or args.data is None
    command.check(args)
    if args.data is not None:
        _check_labels(Path(args.data))
    networks = networks.check()
    if args.reference is not None:
        names = [f"{name}.{recipe}.tflite" for name in networks.models for recipe in _RECIPES]
        require_known("reference", args.reference, names)

    def sample(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return photo_crops(VERIFICATION_PHOTOS, _VERIFICATION, size_wh, 0)

    with networks.made(sample) as files:
        args.files = [str(file.path) for file in files]
        costs = {str(file.path): NetworkCost(file.model, file.parameters, file.macs) for file in files}
        return command.run(args, networks=costs)


def _networks(args: argparse.Namespace) -> NetworkFiles:
    """Return which networks, with random weights for those whose own are not here."""
    if args.files:
        raise UsageError(f"--zoo makes the files that it measures, got {args.files[0]} too; leave out one of them")
    if args.resume:
        raise UsageError("--zoo makes its files anew; to --resume, measure those in --out by their names")
    given = [name for name in _FOREIGN if getattr(args, name) not in (None, False)]
    if given:
        raise UsageError(f"the files of --zoo say this themselves; leave out --{given[0].replace('_', '-')}")
    names = _names(args.zoo)
    weights = parse_weights(args.weights, names)
    for name in weights:
        require_known("network in --weights", name, names)
    for name in names:
        if name not in weights and not NETWORKS[name].has_weights:
            weights[name] = RANDOM
            say(f"{name}: random weights, since its own are not here; --weights {name}=FILE gives them")
    return NetworkFiles(
        tuple(names),
        weights,
        _RECIPES,
        args.out,
        args.threads,
        args.overwrite,
        instead="measure files of your own, without --zoo",
    )


def _names(text: str) -> list[str]:
    """Read the value of --zoo: nothing stands for all that fit, `all` for the others too."""
    if text.strip() == "all":
        return list(PRETRAINED)
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        require_known("pretrained network", name, PRETRAINED)
    if not names:
        for name, size_bytes in TOO_LARGE.items():
            say(
                f"left out: {name}: its float32 file has {size_bytes / 1e6:.0f} MB, and one of more than "
                f"{MOST_BYTES / 1e6:.0f} MB fits no phone's app; --zoo {name} measures it all the same"
            )
    return names or list(ZOO)


def _check_labels(folder: Path) -> None:
    """Raise DataError if a folder of pictures is named otherwise than ImageNet names them."""
    home = find_parts(folder).get("test", folder)
    known = imagenet_labels()
    strangers = sorted(each.name for each in home.iterdir() if each.is_dir() and each.name not in known)
    strangers = [name for name in strangers if not name.startswith(".")]
    if strangers:
        try:
            require_known("label of ImageNet", strangers[0], known)
        except UsageError as error:
            hint = str(error).partition(" known:")[0]
            raise DataError(
                f"{home}: {hint} name its folders as `edgevision imagenet` names pictures, or leave out --data"
            ) from None

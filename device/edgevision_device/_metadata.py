"""What a model file says about itself: one JSON record, the same in every format."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from ._errors import FileError, UsageError, require_known

__all__ = ["COLOR_ORDERS", "RESIZE_MODES", "DataOrigin", "Metadata", "Normalization", "mark_pictures"]

RESIZE_MODES = ("stretch", "crop", "letterbox")
COLOR_ORDERS = ("rgb", "bgr")

#: Raised when a reader of the old format would misread the new one.
FORMAT = 1

#: Bytes of a picture's SHA-256 by which it is known again. Among 500 marks and 60,000 other pictures, the chance that
#: any is taken for one of them is 500 · 60,000 / 2**40, 1 in 37,000.
_MARK_BYTES = 5


@dataclass(frozen=True)
class Normalization:
    """How pixels 0..255 become the network's numbers: `(pixel - mean) / std`, per channel or for all three.

    >>> Normalization.parse("-1..1")
    Normalization(mean=(127.5,), std=(127.5,))
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            raise UsageError(
                f"normalization needs 1 or 3 means and as many stds, got {len(self.mean)} and {len(self.std)}"
            )
        if not all(std > 0 for std in self.std):
            raise UsageError(f"normalization stds must be positive, got {self.std}")

    @classmethod
    def parse(cls, text: str) -> Normalization:
        """Read `0..255`, `0..1`, `-1..1`, `imagenet`, or `MEAN:STD` with one or three comma-separated numbers each."""
        # "imagenet" is torchvision's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225) on a 0..255 scale.
        named = {
            "0..255": cls((0.0,), (1.0,)),
            "0..1": cls((0.0,), (255.0,)),
            "-1..1": cls((127.5,), (127.5,)),
            "imagenet": cls((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        }
        if text in named:
            return named[text]
        try:
            mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split(":"))
        except ValueError:
            raise UsageError(
                f"cannot read the pixel range {text!r}; allowed: {', '.join(named)}, or MEAN:STD such as 127:128"
            ) from None
        return cls(mean, std)


@dataclass(frozen=True)
class DataOrigin:
    """Which pictures a model was trained or calibrated on.

    Attributes:
        name: what the user called the data set (`digits`, or a folder's name).
        sha256: hash over labels and picture contents.
        pictures: how many.
        marks: by which single pictures are known again, see `mark_pictures`. Empty in files from before there were any.
    """

    name: str
    sha256: str
    pictures: int
    marks: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        _ = self.marked  # what cannot be read is refused here

    @functools.cached_property
    def marked(self) -> frozenset[str]:
        """The marks in hex, each the start of a picture's SHA-256."""
        packed = base64.b64decode(self.marks, validate=True)
        if len(packed) % _MARK_BYTES:
            raise UsageError(f"marks hold whole pictures of {_MARK_BYTES} bytes, got {len(packed)} bytes")
        return frozenset(packed[at : at + _MARK_BYTES].hex() for at in range(0, len(packed), _MARK_BYTES))

    def holds(self, digest: Optional[str]) -> bool:
        """Say whether the picture whose file has this SHA-256, in hex, is one of the marked ones."""
        return digest is not None and digest[: 2 * _MARK_BYTES] in self.marked


def mark_pictures(digests: Iterable[str], most: int) -> str:
    """Write down a few bytes of each picture's hash, so that a benchmark knows the picture again, under any name.

    Args:
        digests: SHA-256, in hex, of the content of each picture file.
        most: how many to keep. Of more, those with the highest digests: `split_by_content` puts the lowest into `test`
            and `val`, so that these stay in `train` when pictures are added.

    Returns:
        5 bytes a picture, sorted, in base64: 668 characters for 100 pictures.

    >>> mark_pictures(["ff" * 32, "00" * 32, "ff" * 32], most=64)
    'AAAAAAD//////w=='
    """
    marks = sorted({digest[: 2 * _MARK_BYTES] for digest in digests})[-most:]
    return base64.b64encode(bytes.fromhex("".join(marks))).decode()


@dataclass(frozen=True)
class Metadata:
    """The record inside every file that edgevision writes.

    Attributes:
        name: a name for people.
        labels: one per score, in order, without repetition.
        size_wh: input width and height in pixels.
        resize: `stretch`, `crop` or `letterbox`.
        color_order: the channel order that the network expects.
        normalization: what edgevision's files do to pixels inside; for a file that edgevision did not write, what the
            device does to them before.
        recipe: how the file is quantized.
        recipe_meaning: what that name stands for; empty in files from before it was written down.
        trained_on, calibrated_on: the pictures behind it, if known.
        temperature: scores are sharpened or softened as `score ** (1 / temperature)` and renormalized.
        reject_threshold: a top score below it is reported as unknown; 0 rejects nothing.
        fitted_on: the pictures on which these two were fitted, if they were.
        random_weights: the network was left as it was initialized: it takes as long, and its scores mean nothing.
        edgevision: the version that wrote the file.
        logits: a file that edgevision did not write ends before its softmax, which the device applies.
    """

    name: str
    labels: tuple[str, ...]
    size_wh: tuple[int, int]
    resize: str
    normalization: Normalization
    color_order: str = "rgb"
    recipe: str = "float32"
    recipe_meaning: str = ""
    trained_on: Optional[DataOrigin] = None
    calibrated_on: Optional[DataOrigin] = None
    temperature: float = 1.0
    reject_threshold: float = 0.0
    edgevision: str = ""
    logits: bool = False
    fitted_on: Optional[DataOrigin] = None
    random_weights: bool = False

    def __post_init__(self) -> None:
        require_known("resize mode", self.resize, RESIZE_MODES)
        require_known("color order", self.color_order, COLOR_ORDERS)
        if not self.labels:
            raise UsageError("a classifier needs labels, got none")
        if len(set(self.labels)) < len(self.labels):
            repeated, count = Counter(self.labels).most_common(1)[0]
            raise UsageError(f"label {repeated!r} stands {count} times among the labels; make each one unique")
        if len(self.size_wh) != 2 or min(self.size_wh) < 1:
            raise UsageError(f"input width and height must be positive, got {self.size_wh}")
        if not self.temperature > 0:
            raise UsageError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.reject_threshold <= 1:
            raise UsageError(f"reject threshold must lie between 0 and 1, got {self.reject_threshold}")

    def to_json(self, *, sha256: str, size_bytes: int) -> str:
        """Write the record, with the hash and the length of the model part it belongs to, as one line of JSON."""
        record: dict[str, Any] = {
            "format": FORMAT,
            **dataclasses.asdict(self),
            "sha256": sha256,
            "size_bytes": size_bytes,
        }
        if not self.logits:
            del record["logits"]  # so it is in no file that edgevision writes
        if not self.recipe_meaning:
            del record["recipe_meaning"]
        if self.fitted_on is None:
            del record["fitted_on"]
        if not self.random_weights:
            del record["random_weights"]
        for origin in map(record.get, ("trained_on", "calibrated_on", "fitted_on")):
            if origin is not None and not origin["marks"]:
                del origin["marks"]
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Metadata:
        """Read the parsed JSON. Raises FileError if a newer edgevision wrote it, or a value is missing or senseless."""
        if record.get("format") != FORMAT:
            raise FileError(
                f"the metadata has format {record.get('format')!r}, this edgevision reads {FORMAT}; install a newer one"
            )
        try:
            record = {"logits": False, "recipe_meaning": "", "fitted_on": None, "random_weights": False, **record}
            values = {field.name: record[field.name] for field in dataclasses.fields(cls)}
            values["labels"] = tuple(values["labels"])
            values["size_wh"] = tuple(values["size_wh"])
            mean_std = values["normalization"]
            values["normalization"] = Normalization(tuple(mean_std["mean"]), tuple(mean_std["std"]))
            for key in ("trained_on", "calibrated_on", "fitted_on"):
                values[key] = None if values[key] is None else DataOrigin(**values[key])
            return cls(**values)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise FileError(f"the metadata cannot be read: {error!r}; export the model again") from error

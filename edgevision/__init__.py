"""From labelled pictures to an image classifier on a small device.

import edgevision

run = edgevision.train("photos/", "runs/a")
files = edgevision.export("runs/a", "exports")
"""

from edgevision_benchmarks import write_report
from edgevision_device import Classifier, EdgevisionError, open_source, read_picture, stream

from ._augmentation import Augmentation
from ._cli import main
from ._comparison import AugmentationEffect, compare_augmentation
from ._datasets import load_data, split_folds
from ._evaluation import benchmark, pictures_folder
from ._export import ExportOptions, export
from ._imagenet import imagenet_compare, imagenet_top
from ._options import TrainingOptions
from ._pictures import Pictures, Splits
from ._run import Run, read_run
from ._sweep import Sweep, sweep
from ._training import train
from ._verification import verify, write_verification
from ._verification_record import Verification

__version__ = "0.1.0"

__all__ = [
    "Augmentation",
    "AugmentationEffect",
    "Classifier",
    "EdgevisionError",
    "ExportOptions",
    "Pictures",
    "Run",
    "Splits",
    "Sweep",
    "TrainingOptions",
    "Verification",
    "benchmark",
    "compare_augmentation",
    "export",
    "imagenet_compare",
    "imagenet_top",
    "load_data",
    "main",
    "open_source",
    "pictures_folder",
    "read_picture",
    "read_run",
    "split_folds",
    "stream",
    "sweep",
    "train",
    "verify",
    "write_report",
    "write_verification",
]

"""Export a model to TFLite and ONNX files, quantized and verified."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy
from edgevision_converters import LADDER, RECIPES
from edgevision_device import COLOR_ORDERS, RESIZE_MODES, CheckError, UsageError

from .._calibration_study import calibration_study, parse_study, print_study
from .._console import stdout_console
from .._export import ExportOptions, export
from .._models import Description
from .._networks import PRETRAINED
from .._progress import say
from .._proof import export_to_judge, export_within
from .._verification_table import print_verification

if TYPE_CHECKING:
    from edgevision_converters import ExportedFile, Rung

    from .._proof import ProvenFile

#: A file that agrees less often than this gets a warning, if that cannot be chance.
_LEAST_AGREEMENT = 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = ExportOptions()
    recipes = list(dict.fromkeys(recipe for each in RECIPES.values() for recipe in each))
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run folder; a .keras or .h5 file; a SavedModel folder; a float .tflite or .onnx file; or "
        f"{', '.join(PRETRAINED)}",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the files; only --calibration-study writes none")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--name", metavar="NAME", help="of the files (default: the run's, the file's or the network's)")
    parser.add_argument("--formats", metavar="LIST", help=f"{','.join(RECIPES)} (default: all)")
    parser.add_argument("--recipes", metavar="LIST", help=f"{','.join(recipes)} (default: all)")
    parser.add_argument(
        "--calibrate",
        metavar="DATA",
        help="pictures for int8 (train part) and for verification (val part); default: what the run was trained on, "
        "else photographs inside scikit-image",
    )
    parser.add_argument("--calibration-pictures", type=int, default=default.calibration_pictures, metavar="N")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N", help="of the choice of those pictures")
    parser.add_argument(
        "--fit-confidence",
        action="store_true",
        help="fit the temperature of each file on the val part of those pictures, by their labels; it stays 1 where "
        "val cannot tell it from 1",
    )
    parser.add_argument(
        "--max-error",
        type=float,
        metavar="SHARE",
        help="with --fit-confidence: also the reject threshold at which at most this share of accepted answers is "
        "wrong, such as 0.01, on the val part that it is chosen on; expect more on other pictures",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")
    parser.add_argument("--weights", metavar="FILE", help="ImageNet weights (default: those of edgevision[pretrained])")
    parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be read")
    parser.add_argument("--json", action="store_true", help="one JSON record a file, with its proof")
    proof = parser.add_argument_group("proof", "see also `edgevision verify`; exit 1 where a file loses too much")
    proof.add_argument(
        "--evaluate", metavar="DATA", help="judge the files on its test part, or val, as `edgevision verify` does"
    )
    proof.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help=f"write one file, the first of {', '.join(LADDER)} that loses at most so many points of top-1, integers "
        "before float arithmetic, and say why those before it did not pass (a run brings its own pictures where "
        "--evaluate is not given)",
    )
    proof.add_argument(
        "--whole", action="store_true", help="judge also on pictures that training or calibration has seen"
    )
    proof.add_argument(
        "--calibration-study",
        nargs="*",
        metavar="KEY=LIST",
        help="write no file, but say how much int8 depends on the choice of calibration pictures: seeds=N choices "
        "of each of sizes=N,N,… pictures (default: seeds=3 sizes=20,50,100,200), against the model, and by top-1 on "
        "--evaluate",
    )
    foreign = parser.add_argument_group("for a model that edgevision did not train")
    foreign.add_argument("--labels", metavar="FILE", help="text file, one label a line")
    foreign.add_argument("--resize", metavar="MODE", help=f"{', '.join(RESIZE_MODES)} (default: stretch)")
    foreign.add_argument("--pixels", metavar="RANGE", help="what it takes: 0..255, 0..1, -1..1, imagenet, or MEAN:STD")
    foreign.add_argument("--color-order", metavar="ORDER", help=f"{' or '.join(COLOR_ORDERS)} (default: rgb)")
    foreign.add_argument("--logits", action="store_true", help="the model ends without softmax")
    foreign.add_argument("--signature", metavar="NAME", help="of a SavedModel with several")


def run(args: argparse.Namespace) -> int:
    options = ExportOptions(
        formats=_listed(args.formats),
        recipes=_listed(args.recipes),
        name=args.name,
        calibrate=args.calibrate,
        calibration_pictures=args.calibration_pictures,
        fit_confidence=args.fit_confidence,
        max_error=args.max_error,
        seed=args.seed,
        data_dir=args.data_dir,
        strict=args.strict,
        whole=args.whole,
        **{each.name: getattr(args, each.name) for each in dataclasses.fields(Description)},
    )
    if args.calibration_study is not None:
        return _study(args, options)
    if args.out is None:
        raise UsageError("give a folder for the files with --out DIR")
    command = shlex.join(args.command_line)
    if args.max_drop is not None:
        return _climb(args, options, command)
    if args.evaluate is None:
        files = export(args.model, args.out, options, overwrite=args.overwrite)
        print_files(files, as_json=args.json)
        if not args.json:
            _print_own(files, foreign=args.labels is not None)
        return 0
    files, judge = export_to_judge(
        args.model, args.out, args.evaluate, options, overwrite=args.overwrite, command=command
    )
    if not args.json:
        print_files(files, warned=False)
    found = judge()
    if args.json:
        for file in files:
            _print_record(file, verification=found.of(file.path).to_record())
    else:
        print_verification(found)
    if found.failure is not None:
        raise CheckError(found.failure)
    return 0


def _climb(args: argparse.Namespace, options: ExportOptions, command: str) -> int:
    climbed = export_within(
        args.model, args.out, args.max_drop, args.evaluate, options, overwrite=args.overwrite, command=command
    )
    passed = None if climbed.passed is None else climbed.passed.made
    if args.json:
        verification = None if passed is None else passed.verification.to_record()
        rungs = [_rung_record(rung) for rung in climbed.rungs]
        _print_record(None if passed is None else passed.file, verification=verification, rungs=rungs)
    elif passed is not None:
        print_files([passed.file], warned=False)
        print_verification(passed.verification)
    climbed.require()
    return 0


def _rung_record(rung: Rung[ProvenFile]) -> dict[str, Any]:
    record: dict[str, Any] = {"recipe": rung.recipe, "failure": rung.failure}
    if rung.made is not None:
        record["size_bytes"] = rung.made.file.size_bytes
        record["top1"] = rung.made.verification.files[0].judgement.accuracy.to_record()
    return record


def _study(args: argparse.Namespace, options: ExportOptions) -> int:
    plan = parse_study(args.calibration_study)
    for name in ("out", "overwrite", "name", "formats", "recipes", "max_drop", "fit_confidence"):
        if getattr(args, name) not in (None, False):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"--calibration-study makes int8 files that it does not keep; leave out {flag}")
    study = calibration_study(args.model, plan, args.evaluate, options)
    if args.json:
        print(json.dumps(study.to_record()))
    else:
        print_study(study)
    return 0


def _print_own(files: list[ExportedFile], *, foreign: bool) -> None:
    """Print how many of the pictures the model itself names right: with wrong pixels its files agree with it, too."""
    first = files[0].agreement
    if first.source_right is None:
        return
    own = Accuracy(first.source_right, first.pictures)
    hint = "; were it better elsewhere, look at --pixels, --color-order and the order of --labels" if foreign else ""
    print(f"the model itself names {own.right} of these {own.pictures} pictures right, {own.describe()}{hint}")


def print_files(files: list[ExportedFile], *, as_json: bool = False, warned: bool = True) -> None:
    """Print what was exported and how it agrees with its source, with warnings unless something better follows."""
    if as_json:
        for file in files:
            _print_record(file)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("file", "bytes", "same top-1", "largest score difference", "verified with"):
        table.add_column(heading, justify="left" if heading in ("file", "verified with") else "right")
    for file in files:
        table.add_row(
            str(file.path),
            f"{file.size_bytes:,}",
            f"{100 * file.agreement.same_top1:.2f} %",
            f"{file.agreement.largest_difference:.2g}",
            f"{file.agreement.runtime}, {file.agreement.pictures} pictures",
        )
    stdout_console().print(table)
    for file in files:
        for line in [] if file.confidence is None else file.confidence.describe():
            print(f"{file.path.name}: {line}")
    for warning in filter(None, map(_warning, files) if warned else ()):
        say(f"warning: {warning}")


def _print_record(file: ExportedFile | None, **more: Any) -> None:
    record: dict[str, Any] = {"path": None}
    if file is not None:
        agreement = file.agreement
        record = {
            "path": str(file.path),
            "format": file.format,
            "recipe": file.recipe,
            "size_bytes": file.size_bytes,
            "verified_pictures": agreement.pictures,
            "same_top1_share": agreement.same_top1,
            "source_right": agreement.source_right,
            "largest_score_difference": agreement.largest_difference,
            "runtime": agreement.runtime,
            "confidence": None if file.confidence is None else file.confidence.to_record(),
            "warning": _warning(file),
        }
    print(json.dumps({**record, **more}))


def _warning(file: ExportedFile) -> str | None:
    """Say so if quantization changed more labels than anybody should accept unseen."""
    pictures = file.agreement.pictures
    same = Accuracy(round(file.agreement.same_top1 * pictures), pictures)
    if same.interval[1] >= _LEAST_AGREEMENT:
        return None
    return (
        f"{file.path.name} gives another label than the model for {pictures - same.right} of {pictures} "
        f"pictures; look at its accuracy with `edgevision benchmark` before you use it"
    )


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]

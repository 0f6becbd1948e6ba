"""Look inside: kernels, filters, feature maps, where a label was found, mistakes, and a run's report."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import RESIZE_MODES, UsageError, check_outputs, read_picture, write_atomically

from .. import _looking as looking
from .._console import stdout_console
from .._keras import start_keras
from .._networks import PRETRAINED
from .._progress import decoding_bar
from .._run import is_run, read_run
from .._run_data import held_out, load_splits, with_labels_of
from .._run_report import REPORT_FILES, make_run_report

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    views = parser.add_subparsers(dest="view", metavar="VIEW", required=True)

    def add(name: str, show: Callable[[argparse.Namespace], int], summary: str, out: str) -> argparse.ArgumentParser:
        view = views.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        view.set_defaults(show=show)
        view.add_argument("--out", required=name != "report", metavar=out, help=_OUT_HELP.get(name, "a .png file"))
        view.add_argument("--overwrite", action="store_true", help="replace what is there")
        view.add_argument("--json", action="store_true", help="print one JSON record")
        # The one of `look` itself does not reach what stands behind VIEW.
        view.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return view

    kernel = add("kernel", _kernel, "Apply a kernel to a picture, as a convolution layer does it.", "FILE.png")
    kernel.add_argument("picture", metavar="PICTURE")
    kernel.add_argument(
        "--kernel",
        required=True,
        metavar="NUMBERS|NAME",
        help=f"rows with semicolons between them, such as '0,-1,0; -1,5,-1; 0,-1,0' (--kernel=-1,0,1 where a minus "
        f"comes first), or {', '.join(looking.KERNELS)}",
    )
    kernel.add_argument("--divide", type=float, metavar="N", help="divide each number of the kernel by this")
    kernel.add_argument(
        "--border", default="zero", metavar="KIND", help=f"{', '.join(looking.BORDERS)} (default: zero, as networks do)"
    )
    kernel.add_argument(
        "--show", default="clip", metavar="HOW", dest="how", help=f"numbers outside 0..255: {', '.join(looking.SHOWN)}"
    )
    kernel.add_argument("--grey", action="store_true", help="turn the picture grey first")
    kernel.add_argument("--compare", action="store_true", help="draw picture, kernel and result side by side, enlarged")

    filters = add("filters", _filters, "Draw the filters of a model's first convolution.", "FILE.png")
    _add_model(filters)
    filters.add_argument("--layer", metavar="NAME", help="another convolution")
    filters.add_argument("--count", type=int, default=256, metavar="N", help="at most (default: 256)")

    maps = add("maps", _maps, "Draw what the layers of a model answer to a picture.", "DIR|FILE.png")
    _add_model(maps)
    maps.add_argument("picture", metavar="PICTURE")
    maps.add_argument("--layer", action="append", metavar="NAME", help="can be repeated (default: all convolutions)")
    maps.add_argument("--count", type=int, default=64, metavar="N", help="maps per layer, at most (default: 64)")
    _add_numbers(maps)

    cam = add("cam", _cam, "Draw where in a picture a model finds a label.", "FILE.png")
    _add_model(cam)
    cam.add_argument("picture", metavar="PICTURE")
    cam.add_argument("--label", metavar="LABEL", help="default: the predicted one")
    _add_numbers(cam)

    mistakes = add("mistakes", _mistakes, "Draw the mistakes that a run's model is surest of.", "FILE.png")
    mistakes.add_argument("run", metavar="RUN")
    mistakes.add_argument("--data", metavar="DATA", help="default: what the run was trained on, its test or val part")
    mistakes.add_argument("--count", type=int, default=20, metavar="N", help="at most (default: 20)")
    mistakes.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")

    report = add("report", _report, "Write a run's report and its pictures anew.", "DIR")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")


_OUT_HELP = {
    "maps": "a .png file for one layer, or a folder that gets a file for each",
    "report": "another folder than the run's",
}


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help=f"a run folder, a .keras or .h5 file, or {', '.join(PRETRAINED)}"
    )
    parser.add_argument("--weights", metavar="FILE", help="of a network; default: those of edgevision[pretrained]")


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for a .keras or .h5 file")
    group.add_argument("--labels", metavar="FILE", help="text file, one label a line")
    group.add_argument("--resize", metavar="MODE", help=f"{', '.join(RESIZE_MODES)} (default: stretch)")
    group.add_argument("--pixels", metavar="RANGE", help="what it takes: 0..255, 0..1, -1..1, imagenet, or MEAN:STD")
    group.add_argument("--logits", action="store_true", help="the model ends without softmax")


def run(args: argparse.Namespace) -> int:
    if not 1 <= getattr(args, "count", 1) <= _MOST:
        raise UsageError(f"--count must lie between 1 and {_MOST}, got {args.count}")
    return args.show(args)


def _kernel(args: argparse.Namespace) -> int:
    kernel = looking.parse_kernel(args.kernel, args.divide)
    out = _png(args)
    picture = read_picture(args.picture)
    if args.grey:
        picture = looking.to_grey(picture)
    values = looking.apply_kernel(picture, kernel, args.border)
    pixels = looking.shown_pixels(values, args.how)
    clipped = float(np.mean((values < 0) | (values > 255)))
    rows, columns = kernel.shape
    said = (
        f"kernel {columns}x{rows}, border {args.border}; numbers {looking.range_text(values)}, "
        f"{100 * clipped:.1f} % of them outside 0..255 ({args.how})"
    )
    drawn = looking.draw_kernel(picture, kernel, pixels, Path(args.picture).name, [said]) if args.compare else None
    write_atomically(out, drawn or looking.encode_png(pixels))
    record = {
        "path": str(out),
        "kernel": kernel.tolist(),
        "border": args.border,
        "size_wh": [pixels.shape[1], pixels.shape[0]],
        "low": float(values.min()),
        "high": float(values.max()),
        "outside_share": clipped,
    }
    return _print(args, record, f"{out}: {pixels.shape[1]}x{pixels.shape[0]}; {said}")


def _filters(args: argparse.Namespace) -> int:
    out = _png(args)
    subject = _load(args, to_run=False)
    found = looking.first_filters(subject.model, args.layer)
    write_atomically(out, looking.draw_filters(found, f"{subject.name}: filters", args.count))
    total, height, width, channels = found.weights.shape
    record = {
        "path": str(out),
        "layer": found.layer,
        "filters": total,
        "size_wh": [width, height],
        "channels": found.averaged or channels,
        "low": float(found.weights.min()),
        "high": float(found.weights.max()),
    }
    line = f"{out}: {total} filters of {width}x{height} in {found.layer}; weights {looking.range_text(found.weights)}"
    return _print(args, record, line)


def _maps(args: argparse.Namespace) -> int:
    out = Path(args.out)
    check_outputs([out], overwrite=args.overwrite)
    one_file = out.suffix.lower() == ".png"
    if one_file and len(args.layer or ()) != 1:
        raise UsageError(f"--out {out} is one file: name one --layer, or give a folder")
    if out.exists() and out.is_dir() == one_file:
        raise UsageError(f"{out} is {'a folder' if one_file else 'a file'}; choose another --out")
    looking.check_model(args.model, args.weights)
    picture = read_picture(args.picture)
    subject = _load(args)
    model = subject.model
    names = [looking.find_layer(model, name) for name in args.layer or ()] or looking.convolutions(model)
    if not names:
        raise UsageError(f"{subject.name} has no convolution; name a --layer: {', '.join(looking.layers_of(model))}")
    _, passed = looking.run_watched(model, subject.inputs(subject.view(picture)[np.newaxis]), names)
    records: list[dict[str, Any]] = []
    order = list(looking.layers_of(model))
    for name in names:
        answer = passed[name].after[0]
        path = out if one_file else out / f"{order.index(name):03}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.png"
        title = f"{subject.name}: {Path(args.picture).name}"
        write_atomically(path, looking.draw_maps(answer, name, title, args.count, subject.labels))
        low, high = float(answer.min()), float(answer.max())
        records.append({"path": str(path), "layer": name, "shape": list(answer.shape), "low": low, "high": high})
    lines = [f"{each['path']}: {each['layer']} {tuple(each['shape'])}" for each in records]
    return _print(args, {"files": records}, "\n".join(lines))


def _cam(args: argparse.Namespace) -> int:
    out = _png(args)
    looking.check_model(args.model, args.weights)
    picture = read_picture(args.picture)
    subject = _load(args)
    pixels = subject.view(picture)
    with decoding_bar("occlusions") as on_progress:
        target = None if args.label is None else subject.target(args.label)
        found = looking.attend(subject, pixels, target, on_progress=on_progress)
    best = [(subject.label(int(place)), float(found.scores[place])) for place in np.argsort(-found.scores)[:3]]
    label = subject.label(found.target)
    head = f"{label}, {100 * found.score:.1f} %"
    says = "; ".join(f"{name} {100 * score:.1f} %" for name, score in best)
    notes = [f"{subject.name} on {Path(args.picture).name} says: {says}"]
    write_atomically(out, looking.draw_attention(picture, pixels, found, head, notes))
    record = {
        "path": str(out),
        "label": label,
        "score": found.score,
        "predicted": best[0][0],
        "predicted_score": best[0][1],
        "method": found.method,
        "heat": np.round(found.heat.astype(float), 5).tolist(),
    }
    rows, columns = found.heat.shape
    return _print(args, record, f"{out}: {head} ({found.method}, {columns}x{rows}); says {says}")


def _mistakes(args: argparse.Namespace) -> int:
    out = _png(args)
    run = read_run(args.run)
    splits = load_splits(run, args.data, data_dir=args.data_dir)
    part, pictures = held_out(splits)
    pictures = with_labels_of(pictures, run.labels)
    args.model = args.run
    scores = looking.score_all(_load(args), pictures)
    found = looking.find_mistakes(scores, pictures, args.count)
    wrong = int((scores.argmax(1) != pictures.targets).sum())
    counted = f"{wrong:,} of {len(pictures):,} {part} pictures got another label than their own"
    notes = [counted + (f"; the {len(found)} surest, the surest first" if len(found) < wrong else ", the surest first")]
    title = f"{run.folder.resolve().name}: mistakes on {args.data or pictures.source}"
    write_atomically(out, looking.draw_mistakes(found, pictures, title, notes if found else [counted]))
    shown = [
        {
            "file": each.file,
            "true": each.true,
            "predicted": each.predicted,
            "score": each.score,
            "true_score": each.true_score,
        }
        for each in found
    ]
    record = {"path": str(out), "part": part, "pictures": len(pictures), "mistakes": wrong, "shown": shown}
    if args.json:
        return _print(args, record, "")
    _print_mistakes(found)
    return _print(args, record, f"{out}: {counted}")


def _print_mistakes(found: list[looking.Mistake]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("file", "true", "predicted", "score", "true label's score"):
        table.add_column(heading, justify="right" if "score" in heading else "left")
    for each in found:
        names = [escape(looking.clean(text)) for text in (each.file, each.true, each.predicted)]
        table.add_row(*names, f"{100 * each.score:.1f} %", f"{100 * each.true_score:.1f} %")
    stdout_console().print(table)


def _report(args: argparse.Namespace) -> int:
    run = read_run(args.run)
    out = run.folder if args.out is None else Path(args.out)
    check_outputs([out / name for name in REPORT_FILES], overwrite=args.overwrite)
    splits = load_splits(run, data_dir=args.data_dir)
    parts = {part: with_labels_of(getattr(splits, part), run.labels) for part in ("train", "val", "test")}
    splits = replace(splits, **parts)
    args.model = args.run
    model = _load(args).model
    made = make_run_report(
        model, splits, looking.read_record(run), looking.read_history(run), name=run.folder.resolve().name
    )
    for name, content in made.items():
        write_atomically(out / name, content)
    files = [str(out / name) for name in made]
    return _print(args, {"files": files}, "\n".join(files))


def _png(args: argparse.Namespace) -> Path:
    out = Path(args.out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out is a PNG file and ends in .png, got {out}")
    check_outputs([out], overwrite=args.overwrite)
    return out


def _load(args: argparse.Namespace, *, to_run: bool = True) -> looking.Subject:
    looking.check_model(args.model, getattr(args, "weights", None))
    # What a run, a network and a Keras file leave open.
    allowed = () if is_run(args.model) else ("labels", "resize", "pixels", "logits")
    if not Path(args.model).exists():
        allowed = ("resize", "weights")
    options = {name: getattr(args, name, None) for name in ("labels", "resize", "pixels", "logits", "weights")}
    given = {name: value for name, value in options.items() if value not in (None, False)}
    for name in given:
        if name not in allowed:
            raise UsageError(f"{args.model} has no use for --{name}: it says this itself; leave it out")
    start_keras()
    return looking.load_subject(args.model, **given, to_run=to_run)


def _print(args: argparse.Namespace, record: dict[str, Any], text: str) -> int:
    print(json.dumps(record) if args.json else text)
    return 0

"""A verification as a table and lines."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import TYPE_CHECKING

from edgevision_benchmarks import print_first_that_fits
from edgevision_converters import worst_layers

from ._console import stdout_console
from ._flips import grouped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from edgevision_converters import LayerError

    from ._verification_record import Judgement, Verification, VerifiedFile

__all__ = ["notes", "print_verification"]

#: Labels and layers that are named; the record has all.
_NAMED = 5
#: What makes a good model guess.
_CHECK = ": check --pixels, --color-order and the order of --labels"
#: Between the file's name and the verdict.
_COLUMNS: tuple[str, ...] = (
    "bytes",
    "top-1 %",
    "95 %",
    "same top-1 %",
    "lost",
    "gained",
    "mean diff.",
    "largest",
    "ECE %",
    "chance",
)
#: Left out one after the other where the terminal is too narrow: cut numbers are worse than none.
_SPARE = (), ("mean diff.", "largest"), ("ECE %", "chance"), ("bytes",), ("95 %",)


def print_verification(found: Verification, console: Console | None = None) -> None:
    """Print a row per file, then what there is to say of each; on stdout unless told otherwise."""
    from rich.text import Text

    console = console or stdout_console()
    judged = found.judged
    part = "all" if judged.part == "all" else f"the {judged.part}"
    heading = f"against {found.source} ({found.source_kind}), on {part} pictures of {judged.data}"
    # Text, never markup: a path may hold square brackets. Lines are whole, so that they can be searched for.
    console.print(Text(f"{heading}: {len(judged.pictures):,}", "bold"), soft_wrap=True)
    tables = (_table(found, list(chain(*_SPARE[: number + 1]))) for number in range(len(_SPARE)))
    print_first_that_fits(tables, console)
    for comparison, names in grouped([file.comparison for file in found.files]):
        line = f"{', '.join(names)} against {comparison.a}: {comparison.difference.describe()}"
        console.print(Text(line, "bold" if comparison.difference.distinguishable else ""), soft_wrap=True)
    for line in notes(found):
        console.print(Text(line, "dim"), soft_wrap=True)
    for file in found.files:
        if file.layers:
            _print_layers(file, console)
        if file.unmatched:
            console.print(Text(_unmatched(file), "bold"), soft_wrap=True)


def notes(found: Verification) -> list[str]:
    """Return what else there is to say: seen pictures, pairs of formats, labels that suffered most, rejection, ECE."""
    lines: list[str] = []
    if found.guesses:
        told = found.source_judgement.accuracy
        check = "" if found.source_kind in ("run", "network") else _CHECK
        lines.append(
            f"{found.source} is no better than guessing ({100 * told.share:.1f} % of {len(found.judged.pictures):,} "
            f"pictures, {len(found.judged.pictures.labels)} labels){check}"
        )
    if found.judged.seen:
        more = " or more" if found.judged.unknown else ""
        lines.append(
            f"{len(found.judged.seen):,}{more} of the {len(found.judged.pictures):,} pictures were seen in training or "
            "calibration; what they say of new ones is less than it looks"
        )
    if found.judged.unknown:
        lines.append(
            f"up to {found.judged.unknown:,} of the pictures that trained {found.source} are marked nowhere: if they "
            "are among these, nobody can tell"
        )
    lines += [pair.describe() for pair in found.pairs]
    for file in found.files:
        worst = file.agreement.worst_labels
        if worst:
            named = ", ".join(
                f"{each.label} {100 * each.same_top1:.1f} % of {each.pictures}" for each in worst[:_NAMED]
            )
            left = len(worst) - _NAMED
            more = f", {left} {'label' if left == 1 else 'labels'} more" if left > 0 else ""
            lines.append(f"{file.name}: least agreement: {named}{more}")
        told = file.judgement
        if file.metadata.reject_threshold > 0:
            wrong = told.accepted - told.accepted_right
            lines.append(
                f"{file.name}: rejects {100 * (1 - told.accepted / told.pictures):.1f} % of the pictures (score below "
                f"{file.metadata.reject_threshold:.3g}); {wrong} of {told.accepted:,} accepted answers are wrong"
            )
        if file.metadata.temperature != 1:
            lines.append(f"{file.name}: ECE with its temperature {file.metadata.temperature:g}")
        if file.fitted:
            lines.append(
                f"{file.name}: its temperature and threshold were fitted on {file.fitted:,} of these "
                f"{told.pictures:,} pictures; its ECE and what it rejects will be worse on others"
            )
    if found.chosen_among is not None and found.chosen_among > 1:
        lines.append(
            f"chosen among {found.chosen_among} files on these pictures, as the first that passes: on others its drop "
            "may be larger, and interval and p know nothing of the choice"
        )
    lines += [_gate_line(found), _ece_line(found)]
    return lines


def _gate_line(found: Verification) -> str:
    line, there, needed = f"gate: {found.gate.describe()}", len(found.judged.pictures), found.pictures_needed
    if all(file.decided for file in found.files):
        return line
    if needed is None or there < needed:
        many = "no number of pictures is" if needed is None else f"at least {needed:,} are"
        return f"{line}; {there:,} pictures are too few to decide it, {many} enough for a file that changes nothing"
    return f'{line}; where it says "by chance?", the interval of the drop holds what the gate allows'


def _ece_line(found: Verification) -> str:
    bins = len(found.source_judgement.calibration.bins)
    return (
        f"ECE: the source's pictures in {'1 bin' if bins == 1 else f'{bins} bins of equal size'}; chance: the ECE that "
        "perfectly calibrated scores show on so many pictures"
    )


def _table(found: Verification, left_out: Collection[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    source = ["", *_top1(found.source_judgement), *[""] * 5, *_ece(found.source_judgement)]
    cells = [dict(zip(_COLUMNS, row, strict=True)) for row in (source, *map(_row, found.files))]
    columns = [column for column in _COLUMNS if column not in left_out]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold", min_width=16)
    for column in columns:
        style = "dim" if column in ("95 %", "chance") else ""
        table.add_column(column, justify="right", no_wrap=True, style=style)
    table.add_column("gate", min_width=len("chance?"))
    names = Text(found.source), *(Text(file.name) for file in found.files)
    verdicts = "", *map(_verdict, found.files)
    for name, row, verdict in zip(names, cells, verdicts, strict=True):
        table.add_row(name, *(row[column] for column in columns), verdict)
    return table


def _row(file: VerifiedFile) -> list[str]:
    agreement, told = file.agreement, file.judgement
    return [
        f"{file.size_bytes:,}",
        *_top1(told),
        f"{100 * agreement.same_top1:.2f}",
        str(file.comparison.count("lost")),
        str(file.comparison.count("gained")),
        f"{agreement.mean_difference:.2g}",
        f"{agreement.largest_difference:.2g}",
        *_ece(told),
    ]


def _top1(told: Judgement) -> tuple[str, str]:
    low, high = told.accuracy.interval
    return f"{100 * told.accuracy.share:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"


def _ece(told: Judgement) -> tuple[str, str]:
    return f"{100 * told.calibration.error:.1f}", f"{100 * told.chance:.1f}"


def _verdict(file: VerifiedFile) -> Text:
    from rich.text import Text

    verdict = Text("passes", "green") if file.failure is None else Text("fails", "bold red")
    return verdict if file.decided else verdict.append(", by chance?", "dim")


def _unmatched(file: VerifiedFile) -> str:
    missing, all = len(file.unmatched), len(file.unmatched) + len(file.layers)
    named = ", ".join(file.unmatched[:_NAMED]) + (", …" if missing > _NAMED else "")
    return (
        f"{file.name}: {missing} of {all} layers could not be matched: {named}; --against has no layer of the same "
        "operator, options and shapes in the same place"
    )


def _print_layers(file: VerifiedFile, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"layers of {file.name}: own error, and with what the layers before have lost", "bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("operator", overflow="fold")
    for column in ("own dB", "own rms / step", "clipped %", "total dB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for layer in file.layers:
        if layer.snr_db < float("inf") or layer.scale is not None:
            table.add_row(*_layer_row(layer))
    console.print(table)
    worst = worst_layers(file.layers, _NAMED)
    if worst:
        named = ", ".join(f"{each.layer} {each.snr_db:.1f} dB" for each in worst)
        console.print(Text(f"{file.name}: worst layers: {named}"), soft_wrap=True)
    if any(each.bits == 8 for each in file.layers):
        told = ", ".join(each.layer for each in file.layers if each.suspect) or "none"
        line = f"{file.name}: layers whose own error is above 0.7 of a step, where rounding alone costs 0.289: {told}"
        console.print(Text(line), soft_wrap=True)


def _layer_row(layer: LayerError) -> list[RenderableType]:
    from rich.text import Text

    return [
        Text(layer.layer),
        layer.operator,
        f"{layer.snr_db:.1f}",
        "float" if layer.rms_over_scale is None else f"{layer.rms_over_scale:.3f}",
        f"{100 * layer.clipped:.2f}" if layer.clipped else "",
        f"{layer.total_snr_db:.1f}",
        Text("suspect", "bold red") if layer.suspect else "",
    ]

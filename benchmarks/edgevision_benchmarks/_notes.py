"""What a reader of the table must know beside it, a line each: of the whole report, and of each file."""

from __future__ import annotations

from ._measurement import Measurement
from ._report import RESUMED, FileResult, Report
from ._slowness import not_faster
from ._speed import LEAST_ROUNDS, TimeRatio
from ._text import ms_text, ratio_text

__all__ = ["file_notes", "general_notes"]


def general_notes(report: Report) -> list[str]:
    """Return what holds for all files: pictures, runtimes, runs, the machine, skipped pictures."""
    pictures, settings = report.pictures, report.settings
    split = f", its {pictures.split} split" if pictures.split else ""
    lines = [
        f"{pictures.count} pictures of {len(pictures.labels)} labels from {pictures.name}{split} "
        f"(SHA-256 {pictures.sha256[:12]}…)"
        if pictures.count
        else f"accuracy not measured: {report.no_accuracy}; timed on pixels drawn at random"
    ]
    runtimes = dict.fromkeys(f"{found.runtime} {found.runtime_version}" for _, found in report.measured)
    threads = sorted({found.threads for _, found in report.measured})
    counts = ", ".join(f"{count} thread{'s' if count > 1 else ''}" for count in threads)
    lines.append(f"{' and '.join(runtimes)}, {counts}, one picture at a time")
    runs, warmup = ([pick(found) for _, found in report.measured] for pick in (_runs, _warmup))
    limit = "" if settings.runs_limit_s is None else f" (up to {settings.runs} in {settings.runs_limit_s:g} s)"
    lines.append(f"{_span(runs)} runs timed{limit} after {_span(warmup)} to warm up; the first run stands apart")
    lines.extend(_turns(report))
    lines.append(f"energy: {_energy(report)}")
    if any(found.thread_sweep is not None for _, found in report.measured):
        lines.append("threads: the fewest are recommended that cannot be told from the fastest")
    resizing = _range([found.preprocess.p50_ms for _, found in report.measured])
    deciding = _range([found.decide.p50_ms for _, found in report.measured if found.decide is not None])
    decided = f", nor deciding: {deciding} ms" if deciding else ""
    lines.append(f"preprocessing not included: {resizing} ms a picture (p50){decided}")
    wide = [found.latency_intervals["p50_ms"] for _, found in report.measured if found.latency_intervals is not None]
    if wide:
        widest = max((high - low) / (high + low) for low, high in wide)
        lines.append(
            f"95 % intervals of p50 reach at most {widest:.1%} to either side; those of p90 and p99: report.json"
        )
    lines.extend(_machine(report))
    if report.resumed:
        lines.append(RESUMED)
    if pictures.skipped:
        lines.append(f"{len(pictures.skipped)} of {pictures.count} pictures skipped: they cannot be decoded")
    return lines


def file_notes(report: Report) -> dict[str, list[str]]:
    """Return by name what holds for one file: how it compares, and what it costs."""
    slow = not_faster(report)
    told = {file.name: _of_file(file, found) for file, found in report.measured}
    for name, why in slow.items():
        told[name].append(why.describe())
    return {name: lines for name, lines in told.items() if lines}


def _of_file(file: FileResult, found: Measurement) -> list[str]:
    lines: list[str] = []
    if file.random_weights:
        lines.append("random weights: it takes as long, and has no accuracy")
    if found.speed is not None:
        few = f" on fewer than {LEAST_ROUNDS} rounds" if found.speed.time.rounds < LEAST_ROUNDS else ""
        verdict = found.speed.verdict or f"no verdict{few}"
        lines.append(f"{verdict}, {_ratio(found.speed.time)}")
    if found.paired is not None:
        flips = f"{found.paired.flips} flip{'s' if found.paired.flips != 1 else ''}"
        lines.append(f"against {found.paired.reference}: top-1 {found.paired.difference.describe()}; {flips}")
    if found.mlperf is not None:
        lines.append(f"MLPerf's single stream, {found.mlperf.describe()}")
    if found.sustained is not None and not found.sustained.differs:
        lines.append(found.sustained.describe())
    if found.cost is not None:
        cost = found.cost
        parts = f"{cost.delegated}, in {cost.partitions} part{'s' * (cost.partitions > 1)}"
        # Of a known network the table has them as they are published, and the file has some folded away.
        counted = f"{cost.parameters:,} parameters, {cost.macs / 1e6:,.1f} million MACs; "
        if found.runtime == "onnxruntime":
            told = f"{cost.operators} operators"
        else:
            told = f"of {cost.operators} operators delegated: {parts if cost.partitions else 'none'}"
        lines.append(told if file.network is not None else counted + told)
    if found.operator_times is not None:
        lines.extend(found.operator_times.describe(found.latency.p50_ms))
    if found.thread_sweep is not None:
        counts = ", ".join(f"{each.threads}: {ms_text(each.latency.p50_ms)}" for each in found.thread_sweep.counts)
        best = found.thread_sweep.recommended
        told = f"none recommended on fewer than {LEAST_ROUNDS} rounds" if best is None else f"{best} recommended"
        lines.append(f"p50 ms by threads {counts}; {told}")
    lines += [
        f"{name.replace('_', ' ')}: not measured: {why}"
        for name, why in found.not_measured.items()
        if name != "energy_mj"
    ]
    return lines


def _turns(report: Report) -> list[str]:
    """Return how the files were compared in time, and with which."""
    references = [found.speed.reference for _, found in report.measured if found.speed is not None]
    if not references:
        return []
    floor = report.noise_floor
    noise = "" if floor is None else f"; itself, timed as two, {_ratio(floor)}: no verdict on less"
    return [
        f"timed in turns, in shuffled rounds (seed {report.settings.seed}); "
        f"time ratio: against {references[0]} in the same rounds{noise}"
    ]


def _energy(report: Report) -> str:
    found = [(file.name, each) for file, each in report.measured]
    energies = [f"{name} {each.energy_mj:.3g}" for name, each in found if each.energy_mj is not None]
    # The same of all files, most likely: the board has no such chip.
    whys = dict.fromkeys(each.not_measured["energy_mj"] for _, each in found if "energy_mj" in each.not_measured)
    missing = "not measured" + "".join(f": {why}" for why in whys)
    if not energies:
        return missing
    rails = any(each.energy_by == "PMIC rails" for _, each in found)
    beyond = "idle board (sum of the PMIC's rails: not what the supply delivers)" if rails else "idle processor"
    return f"{', '.join(energies)} mJ a run, beyond the {beyond}{f'; of others {missing}' if whys else ''}"


def _range(times_ms: list[float]) -> str:
    return " to ".join(dict.fromkeys(ms_text(time) for time in (min(times_ms), max(times_ms)))) if times_ms else ""


def _machine(report: Report) -> list[str]:
    """Return what the machine was like before and after, what of it is known."""
    told: list[str] = []
    for when, state in (("before", report.before), ("after", report.after)):
        if state is not None:
            known = (
                (state.others_share, "others use {:.0%} of it"),
                (state.steal_share or None, "{:.0%} stolen"),
                (state.clock_mhz, "{:,.0f} MHz"),
                (state.temperature_c, "{:.0f} °C"),
                (state.processor_w, "{:.1f} W"),
            )
            parts = [form.format(value) for value, form in known if value is not None]
            parts.extend(state.power or ())
            told.append(f"{when}: {', '.join(parts) or 'it says nothing'}")
    return [f"the machine, {'; '.join(told)}"] if told else []


def _ratio(time: TimeRatio) -> str:
    return f"{ratio_text(time.ratio)} of its time ({ratio_text(time.low)} to {ratio_text(time.high)})"


def _runs(found: Measurement) -> int:
    return found.latency.count


def _warmup(found: Measurement) -> int:
    return found.warmup_runs


def _span(counts: list[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"

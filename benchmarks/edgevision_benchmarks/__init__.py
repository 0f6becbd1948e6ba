"""Accuracy, latency, memory and size of model files, measured on the device they run on.

```python
from edgevision_benchmarks import benchmark, write_report

report = benchmark(["digits.int8.tflite", "digits.float32.tflite"], "data/test")
print(report.files[0].measured.top1.describe())
write_report(report, "report")
```

`read_report("report")` reads it back. `report.json` holds one object, `Report.to_record()`:

    format                1; a reader refuses what it does not know
    edgevision, created   the version that measured, and when (UTC, ISO 8601)
    command               what was typed, or null
    resumed               whether it was killed when all files had been timed, and gone on with later, on the same
                          machine with the same versions; false in older reports
    conditions            board, cpu, cores, architecture, userland_bits, memory_bytes, system, kernel, python,
                          governor, numpy, int8_instructions (those for dot products of int8 that the processor has);
                          null where the system does not say
    pictures              name, split, sha256 (`edgevision_device.hash_pictures`), count (0 without --data), labels,
                          skipped (a line each)
    settings              warmup_runs, warmup_limit_s, runs, runs_limit_s, least_runs; confidence of every interval;
                          rounds: about so many turns a file; seed: of their order and of every bootstrap
    noise_floor           ratio, ratio_low, ratio_high, rounds: the reference's time against its own, timed as two in
                          the same rounds; null for a single file, or where it could not be: see not_measured
    before, after         when all files were open and warm, and when they had been timed: clock_mhz, temperature_c,
                          power (of a Raspberry Pi, such as under-voltage), power_since_boot, throttle_count (x86, since
                          boot), others_share, steal_share, processor_w (of half a second); null where the system does
                          not say
    files                 one object a file, in order:
      path, name, size_bytes, sha256, format, recipe, warnings
      random_weights      whether the file says that its network was left as it was initialized: it has no accuracy
      network             null, or what `edgevision benchmark --zoo` made it from: name, parameters and macs as
                          published tables count them
      error               why it was not measured, or null
      not_faster          null, or of an int8 file that is not faster than its float counterpart: than (its name),
                          ratio, ratio_low, ratio_high, rounds, verdict, because (what is known to cause it and
                          holds here)
      measured            null, or:
        runtime, runtime_version, threads
        pictures, right   how many were classified, and how many got their own label; 0 where accuracy was not measured
        top1_share        null in that case, else right / pictures, with Wilson's interval: top1_low_share,
                          top1_high_share
        top5              of files of more than five labels, how many pictures have theirs among the five best: right,
                          pictures, accuracy_share, accuracy_low_share, accuracy_high_share; or null
        macro_f1_share    mean f1_share of the labels that there are pictures of, or null
        per_label         {label: pictures, right, called, recall_share, precision_share (null if none is called so),
                          f1_share}
        paired            null for the reference, or against it: reference, flips (pictures whose label differs),
                          both_right, only_a_right, only_b_right, neither_right (a: the reference), difference_share,
                          difference_low_share, difference_high_share, confidence, p, distinguishable, verdict;
                          flipped (the flips, worst first; empty in older reports): picture, sha256, label, kind (lost:
                          only a is right, gained: only b is, neither), answer_a, score_a, answer_b, score_b
        open_ms, first_ms, warmup_runs
        latency           count, p50_ms, p90_ms, p99_ms of the timed runs; nearest rank
        latency_intervals p50_ms, p90_ms, p99_ms: low and high, from drawing the rounds anew; null if under 6 rounds
        histogram         of the timed runs, null in older reports: low_ms (where each bin begins that holds any),
                          counts (runs in it), bin_ratio (where it ends, over where it begins)
        warmup            count, p50_ms, p90_ms, p99_ms of the runs that warmed up, or null
        preprocess        the same of resizing one decoded picture; decide: of temperature and the best label
        thread_sweep      null, or counts: threads, latency, and ratio, ratio_low, ratio_high, rounds against the
                          fastest; recommended_threads: the fewest that cannot be told from the fastest, or
                          null if under 6 rounds
        memory_peak_bytes, memory_before_bytes, memory_file_bytes
                          resident while the file was opened and timed; before; the difference; null if unknown
        round_p50_ms      median of each round: all files have a turn in a round, in an order shuffled anew
        speed             null for the reference, or: reference (its name), ratio, ratio_low, ratio_high, rounds of
                          both, and verdict: faster, slower, no difference; null if there were too few rounds, or
                          no noise floor
        mlperf            null, or: passes (two: count, p50_ms, p90_ms, p99_ms, duration_s), difference_share of the
                          larger p90 over the smaller, repeated (within 5 %)
        sustained         null, or of runs without a pause: duration_s (measured), burst_p50_ms and sustained_p50_ms (of
                          the first and the last third), ratio, ratio_low, ratio_high, rounds, differs (beyond the noise
                          floor), start_temperature_c and end_temperature_c (before the first run, after the last one),
                          start_clock_mhz and end_clock_mhz (after the first spell of 30, and the last one); null in
                          older reports, and where the system does not say
        cost              parameters and macs (convolutions and matrix products), operators, delegated (of these, to
                          XNNPACK by default), partitions (the parts that it runs), outside (kinds of operators that no
                          delegate runs), kernels ({what convolutions and products compute in: how many}: float32, int8,
                          uint8, int16 activations, or hybrid); of an .onnx the last four are 0 or empty; null if the
                          file or the runtime does not tell, and of an .onnx in older reports
        operator_times    null if not asked for, or: method (cuts: of the graph; profiler: ONNX Runtime's; null: not
                          measured), rounds, sum_ms, not_measured (why not, or null), operators in the order in which
                          they run: name (of its output in a .tflite), kind, by (XNNPACK, or runtime for its own
                          kernels), ms (what it adds to the shortest run), low_ms and high_ms (the least and the
                          most that a single round says; in older reports an interval that was too narrow)
        energy_mj         millijoules of a run, beyond those of the idle processor or board (before and after);
                          null if not measured: counters that only root may read, turns of less than half a second,
                          neither x86 nor a Raspberry Pi 5, or see not_measured
        energy_by         RAPL (the counters of an x86 processor, over its turns), PMIC rails (of a Raspberry Pi 5: the
                          sum of the rails whose current and voltage its power chip tells, sampled over a spell of its
                          own; not what the supply delivers, nor what USB devices take), or null
        not_measured      {figure that was asked for and is null: why}: sustained, mlperf, thread_sweep, energy_mj,
                          verdict (of speed); empty in older reports
        opencv            its version
        others_share      of the processor time in its turns, what other processes took, and steal_share what other
                          virtual machines took; of turns shorter than a second in all: in the turns of all
                          files, and where those are as short the mean of before and after
        throttled         whether the processor was throttled, or short of power, while files were timed; or null
        drift             ratio, ratio_low, ratio_high, rounds (of a third): its last third of rounds against its first;
                          null if under 18 rounds
        drifted           whether that is beyond the noise floor (5 % if there is none)
        disturbed         why its times are doubtful, a line each: others_share or steal_share above 5 %, throttled,
                          drifted, or a sustained that differs
        confusion         {true label: {predicted label: pictures}}, only what occurred
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from edgevision_device import run_cli

from . import _command as command
from ._calibration_error import CalibrationError, ScoreBin, calibration_error, chance_error
from ._choice import Alternative, Budget, Choice, Excluded, choose
from ._compare import Comparison, FileComparison, compare_reports
from ._conditions import Conditions, read_conditions
from ._console import print_first_that_fits
from ._cost import Cost
from ._data import refuse_seen, seen_pictures
from ._flips import Flip, group_alike, worst_first
from ._flips_page import FlipCard, FlipSection, FlipsPage, limit_flips, render_flips_page, thumbnail
from ._gate import Gate, Verdict, judge, parse_gate
from ._histogram import Histogram
from ._html import render_html
from ._load import MachineState
from ._measure import benchmark
from ._measurement import LabelScores, Measurement, Paired
from ._merge import Device, Merged, MergedRow, MergedTable, merge, write_merged
from ._mlperf import SingleStream, StreamPass
from ._operators import OperatorTime, OperatorTimes
from ._outputs import write_report
from ._reading import read_report
from ._report import FileResult, NetworkCost, Pictures, Report
from ._rounds import Settings
from ._slowness import NotFaster
from ._speed import Speed, TimeRatio
from ._statistics import (
    Accuracy,
    PairedDifference,
    compare_paired,
    mcnemar_p,
    paired_interval,
    unpaired_interval,
    wilson_interval,
)
from ._sustained import Sustained
from ._table import print_table
from ._text import ms_text, printable
from ._threads import ThreadCount, ThreadSweep
from ._turns import OnProgress

__version__ = "0.1.0"

__all__ = [
    "Accuracy",
    "Alternative",
    "Budget",
    "CalibrationError",
    "Choice",
    "Comparison",
    "Conditions",
    "Cost",
    "Device",
    "Excluded",
    "FileComparison",
    "FileResult",
    "Flip",
    "FlipCard",
    "FlipSection",
    "FlipsPage",
    "Gate",
    "Histogram",
    "LabelScores",
    "MachineState",
    "Measurement",
    "Merged",
    "MergedRow",
    "MergedTable",
    "NetworkCost",
    "NotFaster",
    "OnProgress",
    "OperatorTime",
    "OperatorTimes",
    "Paired",
    "PairedDifference",
    "Pictures",
    "Report",
    "ScoreBin",
    "Settings",
    "SingleStream",
    "Speed",
    "StreamPass",
    "Sustained",
    "ThreadCount",
    "ThreadSweep",
    "TimeRatio",
    "Verdict",
    "benchmark",
    "calibration_error",
    "chance_error",
    "choose",
    "command",
    "compare_paired",
    "compare_reports",
    "group_alike",
    "judge",
    "limit_flips",
    "main",
    "mcnemar_p",
    "merge",
    "ms_text",
    "paired_interval",
    "parse_gate",
    "print_first_that_fits",
    "print_table",
    "printable",
    "read_conditions",
    "read_report",
    "refuse_seen",
    "render_flips_page",
    "render_html",
    "report_commands",
    "seen_pictures",
    "thumbnail",
    "unpaired_interval",
    "wilson_interval",
    "worst_first",
    "write_merged",
    "write_report",
]


def report_commands() -> dict[str, str]:
    """Return the subcommands that work on finished reports, and their modules; see `device_commands` of the device."""
    return {name: f"{__package__}._commands.{name}" for name in ("choose", "report")}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run `edgevision-benchmark`: it measures, unless its first word is one of `report_commands`."""
    names = " and ".join(f"`edgevision-benchmark {name} --help`" for name in report_commands())
    return run_cli(
        "edgevision-benchmark",
        f"Measure accuracy, latency, memory and size of model files on labelled pictures. What works on finished "
        f"reports: {names}.",
        {"": command, **report_commands()},
        argv,
        version=__version__,
    )

"""Tables on terminals that are too narrow for them."""

import dataclasses
import io
from itertools import takewhile

import pytest
from rich.console import Console

from edgevision_benchmarks import NetworkCost, Speed, TimeRatio, merge, print_table
from edgevision_benchmarks._commands import merge as merge_command

CONFUSION = {"red": {"red": 9, "blue": 1}}


@pytest.fixture
def wide(make_report, measurement):
    """Networks of the zoo, whose names are long, beside a file of another one."""
    speed = Speed("a.float32.tflite", TimeRatio(1.25, 1.24, 1.27, 20), "slower")
    found = dataclasses.replace(measurement(CONFUSION, 14.2), speed=speed)
    names = "efficientnet-lite0.float32.tflite", "efficientnet-lite0.int8.tflite", "mobilenetv3-small.int8.tflite"
    report = make_report(*((name, "tflite", name.split(".")[1], 18_000_000, found) for name in names))
    cost = NetworkCost("efficientnet-lite0", 4_652_008, 407_000_000)
    return dataclasses.replace(report, files=tuple(dataclasses.replace(each, network=cost) for each in report.files))


@pytest.mark.parametrize("width", [80, 120, 165, 240])
def test_columns_that_do_not_fit_are_left_out_whole(wide, width):
    stream = io.StringIO()
    print_table(wide, Console(file=stream, width=width))
    heading, _, *rows = takewhile(str.strip, stream.getvalue().splitlines()[1:])
    assert all(len(line) <= width and "…" not in line for line in (heading, *rows))
    for column, narrowest in {"file": 80, "top-1 %": 80, "time ratio": 80, "MACs": 120, "p99 ms": 240}.items():
        assert (column in heading) == (width >= narrowest), column
    assert "".join(row.split("  ")[0].strip() for row in rows).count(".tflite") == 3


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_what_fits_in_no_way_is_wrapped_by_the_terminal(wide, devices, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    merged = merge([dataclasses.replace(wide, created=str(number)) for number in range(devices)])
    merge_command.print_merged(merged)
    heading, _, *rows = takewhile(str.strip, capsys.readouterr().out.splitlines()[1:])
    assert (len(heading) <= 80) == (devices < 8)
    assert "file" in heading
    assert f"{devices}: p50 ms" in heading
    # Which there is room for beside two devices.
    assert ("time ratio" in heading) == (devices == 2)
    assert rows[0].split()[-1] in (("1.00",) if devices == 2 else ("14.20", "14.2"))
    assert not any("…" in row for row in rows)

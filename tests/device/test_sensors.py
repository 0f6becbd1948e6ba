"""What the machine's sensors say, below a root that was made up."""

from pathlib import Path
from typing import Any

import pytest

from edgevision_device import (
    read_clock_mhz,
    read_governor,
    read_int8_instructions,
    read_temperature_c,
    read_throttle_count,
)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="ascii")


def test_every_sensor_is_read(tmp_path: Path) -> None:
    for core, (clock, count) in enumerate([("1500000\n", "2\n"), ("2400000\n", "3\n")]):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", clock)
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", count)
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "61322\n")
    assert read_clock_mhz(tmp_path) == 1950.0
    assert read_throttle_count(tmp_path) == 5
    assert read_governor(tmp_path) == "ondemand"
    assert read_temperature_c(tmp_path) == 61.322


def test_without_cpufreq_the_clock_is_that_of_cpuinfo(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2000.000\n\nprocessor\t: 1\ncpu MHz\t\t: 3000.000\n")
    assert read_clock_mhz(tmp_path) == 2500.0


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    readers = (read_clock_mhz, read_governor, read_int8_instructions, read_temperature_c, read_throttle_count)
    assert [read(tmp_path) for read in readers] == [None] * 5


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("processor : 0\n", None),
        ("flags\t\t: fpu avx2\n", ()),
        ("processor : 0\nflags : avx2 avx512_vnni\nflags : avx2 avx512_vnni\n", ("avx512_vnni",)),
        ("Features\t: fp asimd asimddp crc32\n", ("asimddp",)),
    ],
)
def test_int8_instructions_are_those_of_cpuinfo(tmp_path: Path, cpuinfo: str, found: Any) -> None:
    write(tmp_path, "proc/cpuinfo", cpuinfo)
    assert read_int8_instructions(tmp_path) == found

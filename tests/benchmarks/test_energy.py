"""Energy, from counters that were made up."""

import pytest

from edgevision_benchmarks._energy import Counter, EnergyMeter, energy_of_runs, read_counters


def write(root, zone, name, energy):
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", "1000000")):
        if text is not None:
            (folder / file).write_text(f"{text}\n", encoding="ascii")


def test_packages_are_read_and_nothing_twice(tmp_path):
    write(tmp_path, "intel-rapl:0", "package-0", "100")
    write(tmp_path, "intel-rapl:1", "package-1", "200")
    write(tmp_path, "intel-rapl:0:0", "core", "50")
    write(tmp_path, "intel-rapl:2", "psys", "500")
    assert read_counters(tmp_path) == {
        "intel-rapl:0": Counter(100, 1_000_000),
        "intel-rapl:1": Counter(200, 1_000_000),
    }


def test_counters_that_cannot_be_read_are_none(tmp_path):
    assert read_counters(tmp_path) == {}
    write(tmp_path, "intel-rapl:0", "package-0", "100")
    write(tmp_path, "intel-rapl:1", "package-1", None)
    assert read_counters(tmp_path) == {}


def metered(*spells, range_uj=10_000_000):
    """Each spell: microjoules at its start and its end, and seconds."""
    readings = iter([{"a": Counter(energy, range_uj)} for start, end, _ in spells for energy in (start, end)])
    times, now = [], 0.0
    for _, _, seconds in spells:
        times += [now, now + seconds]
        now += seconds + 1.0
    meter = EnergyMeter(lambda: next(readings), iter(times).__next__)
    for _ in spells:
        meter.start()
        meter.stop()
    return meter


def test_the_idle_processor_is_subtracted():
    meter = metered((0, 3_000_000, 0.5), (5_000_000, 7_000_000, 0.5))
    assert meter.watts() == pytest.approx(5.0)
    assert energy_of_runs(meter, 100, idle_w=2.0) == pytest.approx(30.0)


def test_a_counter_that_starts_again_is_followed():
    assert metered((9_000_000, 1_000_000, 1.0)).spent_j == pytest.approx(2.0)


def test_what_cannot_be_known_is_not_measured():
    assert energy_of_runs(metered((0, 1_000_000, 0.1)), 10, 1.0) is None
    assert energy_of_runs(metered((0, 1_000_000, 1.0)), 10, None) is None
    nothing = EnergyMeter(dict, iter([0.0, 1.0]).__next__)
    nothing.start()
    nothing.stop()
    assert nothing.watts() is None
    assert energy_of_runs(nothing, 10, 1.0) is None

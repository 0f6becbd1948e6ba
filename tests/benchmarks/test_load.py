"""What the machine does besides, on counters that were made up."""

import pytest

from edgevision_benchmarks import MachineState, _load
from edgevision_benchmarks._load import CpuTimes, Load, LoadMeter, loads_of, read_cpu_times, throttled_between


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_proc_stat_is_read_in_seconds(tmp_path):
    write(tmp_path / "proc/stat", "cpu  1000 200 300 4000 500 10 20 600 900 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
    found = read_cpu_times(tmp_path)
    assert (found.busy_s, found.steal_s, found.total_s) == pytest.approx((15.3, 6.0, 66.3))


@pytest.mark.parametrize("text", [None, "", "intr 12 13\n", "cpu 1 2 3\n"])
def test_without_proc_stat_nothing_is_known(tmp_path, text):
    if text:
        write(tmp_path / "proc/stat", text)
    elif text is not None:
        write(tmp_path / "proc/stat", "none\n")
    assert read_cpu_times(tmp_path) is None
    meter = LoadMeter(lambda: None)
    meter.start()
    meter.stop(1.0)
    assert meter.load() == Load(None, None)


def metered(*spells):
    """Each spell: busy, steal and total seconds of the machine, and our own."""
    return meter_of(*spells).load()


def meter_of(*spells):
    readings, now = [], CpuTimes(100.0, 10.0, 200.0)
    for busy_s, steal_s, total_s, _ in spells:
        readings.append(now)
        now = CpuTimes(now.busy_s + busy_s, now.steal_s + steal_s, now.total_s + total_s)
        readings.append(now)
    meter = LoadMeter(iter(readings).__next__)
    for *_, own_s in spells:
        meter.start()
        meter.stop(own_s)
    return meter


def test_what_is_not_ours_is_others():
    load = metered((1.5, 0.1, 2.0, 1.0), (1.5, 0.1, 2.0, 1.0))
    assert (load.others_share, load.steal_share) == pytest.approx((0.25, 0.05))


def test_ticks_that_come_late_are_no_negative_load():
    assert metered((0.9, 0.0, 2.0, 1.0)).others_share == 0.0
    # One spell too few, the next too many: nothing together.
    assert metered((0.9, 0.0, 2.0, 1.0), (1.1, 0.0, 2.0, 1.0)).others_share == pytest.approx(0.0)


def test_short_turns_say_nothing():
    assert metered((0.4, 0.0, 0.9, 0.1)) == Load(None, None)


def test_a_file_of_short_turns_gets_the_load_of_all_turns():
    """They are interleaved: what the machine did in half a second before and after says less of them."""
    turns = {"long": meter_of((1.5, 0.0, 2.0, 1.0)), "a": meter_of((0.6, 0.0, 0.8, 0.1)), "b": meter_of()}
    loads = loads_of(turns)
    assert loads["long"].others_share == pytest.approx(0.25)
    assert loads["a"] == loads["b"] == Load(pytest.approx(1.0 / 2.8), 0.0)
    assert loads_of({"a": meter_of((0.2, 0.0, 0.4, 0.1)), "b": meter_of((0.2, 0.0, 0.4, 0.1))}) == {
        "a": Load(None, None),
        "b": Load(None, None),
    }


def state(**changes):
    values = dict.fromkeys(MachineState.__dataclass_fields__)
    return MachineState(**{**values, **changes})


@pytest.mark.parametrize(
    ("before", "after", "throttled"),
    [
        pytest.param({}, {}, None, id="nothing tells"),
        pytest.param({"throttle_count": 4}, {"throttle_count": 4}, False, id="x86, not since"),
        pytest.param({"throttle_count": 4}, {"throttle_count": 5}, True, id="x86, once more"),
        pytest.param(
            {"power": (), "power_since_boot": ("throttled",)},
            {"power": (), "power_since_boot": ("throttled",)},
            False,
            id="Pi, long ago",
        ),
        pytest.param(
            {"power": (), "power_since_boot": ()},
            {"power": (), "power_since_boot": ("under-voltage",)},
            True,
            id="Pi, in between",
        ),
        pytest.param(
            {"power": (), "power_since_boot": ("throttled",)},
            {"power": ("throttled",), "power_since_boot": ("throttled",)},
            True,
            id="Pi, now",
        ),
    ],
)
def test_throttling_in_between(before, after, throttled):
    assert throttled_between(state(**before), state(**after)) is throttled


def test_the_state_of_this_machine_is_read(monkeypatch):
    monkeypatch.setattr(_load, "SAMPLE_S", 0.05)
    found = _load.read_state()
    assert found.others_share is None or 0 <= found.others_share <= 1

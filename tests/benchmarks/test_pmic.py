"""Energy of a Raspberry Pi 5, from a program in place of `vcgencmd` that says what one has said."""

import os

import pytest

from edgevision_benchmarks import _pmic, _processes, benchmark, read_report, render_html, write_report
from edgevision_benchmarks._notes import file_notes, general_notes
from edgevision_benchmarks._pmic import MeterError, PmicMeter, rail_watts, read_watts

#: Of a Raspberry Pi 5 (github.com/leukipp/touchkio/issues/35).
CAPTURED = """\
 3V7_WL_SW_A current(0)=0.12199130A
   3V3_SYS_A current(1)=0.15224510A
   1V8_SYS_A current(2)=0.17273960A
  DDR_VDD2_A current(3)=0.11613570A
  DDR_VDDQ_A current(4)=0.02941200A
   1V1_SYS_A current(5)=0.21763240A
    0V8_SW_A current(6)=0.50748360A
  VDD_CORE_A current(7)=1.54489000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00390720A
      HDMI_A current(22)=0.01709400A
 3V7_WL_SW_V volt(8)=3.60605200V
   3V3_SYS_V volt(9)=3.31931300V
   1V8_SYS_V volt(10)=1.79682400V
  DDR_VDD2_V volt(11)=1.10842400V
  DDR_VDDQ_V volt(12)=0.60549390V
   1V1_SYS_V volt(13)=1.10219700V
    0V8_SW_V volt(14)=0.80146440V
  VDD_CORE_V volt(15)=0.88725180V
   3V3_DAC_V volt(20)=3.31501500V
   3V3_ADC_V volt(21)=3.31684600V
   0V8_AON_V volt(19)=0.79882700V
      HDMI_V volt(23)=4.90440000V
     EXT5V_V volt(24)=4.87894000V
      BATT_V volt(25)=2.50512600V
"""
#: With as much in the processor's rail as another one has said.
BUSY = CAPTURED.replace("1.54489000A", "5.03652000A")
IDLE_W, BUSY_W = 3.507, 6.605

#: Says that it runs: the program in place of vcgencmd looks for it.
RUNS = """
import os, edgevision_benchmarks._child as c
streaming = c._Opened.stream
def stream(self, *args):
    open({busy!r}, "w").close()
    try:
        return streaming(self, *args)
    finally:
        os.unlink({busy!r})
c._Opened.stream = stream
"""


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Put a program called vcgencmd on the PATH: lines of a shell that answer `pmic_read_adc`."""

    def make(lines):
        path = tmp_path / "bin" / "vcgencmd"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x0 && exit\n{lines}\n")
        path.chmod(0o755)
        (tmp_path / "idle").write_text(CAPTURED)
        (tmp_path / "busy").write_text(BUSY)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return make


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in (("_EVERY_S", 0.01), ("_IDLE_S", 0.5), ("_SPELL_S", 1.0)):
        monkeypatch.setattr(_pmic, name, seconds)
    monkeypatch.setattr(_pmic, "_LEAST_SAMPLES", 2)  # a busy machine starts few programs in that time


def test_rails_with_a_current_and_a_voltage_are_added_up():
    assert rail_watts(CAPTURED) == pytest.approx(IDLE_W, abs=0.001)
    assert rail_watts(BUSY) == pytest.approx(BUSY_W, abs=0.001)
    one = "VDD_CORE_A current(7)=2.94450000A\nVDD_CORE_V volt(15)=0.87662790V\nEXT5V_V volt(24)=5.0V\n"
    assert rail_watts(one) == pytest.approx(2.9445 * 0.8766279)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param('error=1 error_msg="Command not registered"\n', id="a board without the chip"),
        pytest.param(CAPTURED[: CAPTURED.index("VDD_CORE_V")], id="cut short between rails"),
        pytest.param(CAPTURED[:300], id="cut short in a line"),
        pytest.param(CAPTURED.replace("0.15224510A", "nanA"), id="no number"),
        pytest.param("EXT5V_V volt(24)=5.08664000V\n", id="no current"),
    ],
)
def test_what_does_not_tell_the_rails_is_refused(text):
    with pytest.raises(MeterError, match="does not tell the rails"):
        rail_watts(text)


def test_samples_that_change_are_integrated(board, tmp_path, monkeypatch):
    """Of values in turns every interval has the same mean, however long it is."""
    board(f"cd {tmp_path}; if [ -e odd ]; then rm odd; cat busy; else : > odd; cat idle; fi")
    monkeypatch.setattr(_pmic, "_EVERY_S", 0.0)
    taken = []

    def read():
        taken.append(read_watts())
        if len(taken) == 6:
            meter._ended.set()
        return taken[-1]

    meter = PmicMeter(read)
    meter.start()
    meter.wait(60)
    meter.stop()
    assert taken == [rail_watts(CAPTURED), rail_watts(BUSY)] * 3
    assert meter.watts() == pytest.approx((IDLE_W + BUSY_W) / 2, abs=0.001)


def test_intervals_count_by_their_length():
    watts, times = iter([1.0, 1.0, 5.0, 5.0, 5.0]), iter([0.0, 6.0, 8.0, 9.0, 10.0])

    def clock():
        now = next(times)
        if now == 10.0:
            meter._ended.set()
        return now

    meter = PmicMeter(watts.__next__, clock)
    meter.start()
    meter.wait(60)
    assert meter.watts() == pytest.approx((6 * 1 + 2 * 3 + 2 * 5) / 10)


def test_few_samples_tell_no_mean():
    meter = PmicMeter(lambda: meter._ended.set() or 1.0)
    meter.start()
    meter.stop()
    with pytest.raises(MeterError, match="only 1 samples of the power, and 5 are needed"):
        meter.watts()


def test_the_energy_of_a_run_is_beyond_the_idle_board(model, pictures, tmp_path, board, quick, monkeypatch):
    board(f"cd {tmp_path}; if [ -e runs ]; then cat busy; else cat idle; fi")
    program, flag, code = _processes.child_command()
    own = "from edgevision_benchmarks._child"
    text = code.replace(own, f"exec({RUNS.format(busy=str(tmp_path / 'runs'))!r}); {own}")
    monkeypatch.setattr(_processes, "child_command", lambda: [program, flag, text])
    stream, spells = _processes.Process.stream, []

    def streaming(self, *args):
        spells.append(stream(self, *args))
        return spells[-1]

    monkeypatch.setattr(_processes.Process, "stream", streaming)
    report = benchmark([model()], pictures(), runs=1, warmup=0)
    (file,), (spell,) = report.files, spells
    most = 1e3 * (BUSY_W - IDLE_W) * spell["duration_s"] / spell["latency"]["count"]
    assert 0 < file.measured.energy_mj <= 1.001 * most  # at its ends it may have been asked too early, or too late
    assert file.measured.energy_by == "PMIC rails"
    assert file.measured.latency.count == 1, "what runs meanwhile is not timed"
    (line,) = [line for line in general_notes(report) if line.startswith("energy: ")]
    assert line.endswith("mJ a run, beyond the idle board (sum of the PMIC's rails: not what the supply delivers)")
    assert read_report(write_report(report, tmp_path / "report")[0]) == report


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('echo "Can\'t open device file: /dev/vcio" >&2; exit 255', "ended with code 255: Can't open device file"),
        ("echo 'error=1 error_msg=\"Command not registered\"'", "does not tell the rails: error=1 error_msg="),
        ("head -c 99 /dev/urandom", "does not tell the rails: "),
        ("exec sleep 1000", "gave no answer in 1 s"),
        ("echo $$ >> {folder}/asked; [ $(wc -l < {folder}/asked) -lt 9 ] || exit 7; cat {folder}/idle", "with code 7"),
    ],
    ids=["fails", "another board", "garbage", "hangs", "fails later"],
)
def test_a_board_that_does_not_say_is_not_measured(model, pictures, tmp_path, board, quick, lines, why):
    board(lines.format(folder=tmp_path))
    report = benchmark([model()], pictures(), runs=1, warmup=0)
    (file,) = report.files
    assert file.error is None
    assert (file.measured.energy_mj, file.measured.energy_by) == (None, None)
    assert file.measured.top1.right == 12
    told = file.measured.not_measured["energy_mj"]
    assert told.startswith("`vcgencmd pmic_read_adc` ")
    assert why in told
    assert f"energy: not measured: {told}" in general_notes(report)
    assert not any(told in line for line in file_notes(report).get(file.name, []))
    assert told.isprintable()
    render_html(report)

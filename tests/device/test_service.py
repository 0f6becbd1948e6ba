"""The systemd unit, as systemd itself reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from edgevision_device import UsageError, main
from edgevision_device._service import Service, hidden_paths, quoted


@pytest.fixture
def analyze() -> Callable[..., str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")

    def analyze(*words: object) -> str:
        done = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return analyze


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(data / "tiny.int8.tflite", tmp_path / "my model.tflite"))


def open_to_all(path: Path) -> None:
    for each in (path, *path.parents):
        if not os.access(each, os.W_OK) or each == Path("/"):
            break
        each.chmod(each.stat().st_mode | 0o055)


def test_systemd_accepts_the_unit(tmp_path: Path, analyze: Callable[..., str]) -> None:
    service = Service("ant-watch", [sys.executable, "-c", "print('50 % $HOME')", "a b"], "ants: 50 % of them")
    path = tmp_path / "ant-watch.service"
    path.write_text(service.unit())
    assert analyze("verify", path).strip() == ""
    # How much of the system a service can reach, by systemd's own count: 0 nothing, 10 all of it.
    report = analyze("security", "--offline=true", path)
    exposure = float(report.rpartition("Overall exposure level for ant-watch.service: ")[2].split()[0])
    assert exposure < 3, report


@pytest.mark.parametrize(
    "argument", ["plain", "a b", "50%", "$HOME", 'say "hi"', "back\\slash", "ünïcode", "a;b", "#x", ""]
)
def test_an_argument_arrives_as_it_was(argument: str, tmp_path: Path) -> None:
    """Undone by hand as systemd.service(5) says: quotes, C escapes, `$$`, `%%`."""
    written = quoted(argument)
    if written.startswith('"'):
        assert written.endswith('"')
        written = written[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        assert "%" not in written.replace("%%", "")
        written = written.replace("%%", "%").replace("$$", "$")
    assert written == argument


def test_a_dry_run_prints_the_unit_and_changes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], analyze: Callable[..., str]
) -> None:
    open_to_all(model)
    hidden = list(hidden_paths([os.path.realpath(sys.executable), Path(__file__).parent]))
    units = tmp_path / "units"
    line = ["service", "install", "--name", "ants", str(model), "--source", "0", "--smooth", "5", "--dry-run"]
    code = main([*line, "--unit-dir", str(units), "--out", "labels.jsonl"])
    out = capsys.readouterr()
    if hidden:
        # Python itself lies where only its owner can read, as on Raspberry Pi OS in /home.
        assert code == 2
        assert f"cannot read {hidden[0]}" in out.err
        return
    assert code == 0
    assert not units.exists()
    start = next(row for row in out.out.splitlines() if row.startswith("ExecStart="))
    assert start.endswith(f'stream "{model}" --source 0 --smooth 5 --out labels.jsonl')
    path = tmp_path / "ants.service"
    path.write_text(out.out)
    assert analyze("verify", path).strip() == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "/srv/labels.jsonl"], "can write to /var/lib/edgevision only"),
        (["--name", "Ants"], "small letters"),
        (["--smooth", "five"], "--smooth"),
        (["--source"], "--source"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_fail_at_every_start_is_refused(
    model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    open_to_all(model)
    try:
        code = main(["service", "install", str(model), "--source", "0", *arguments, "--dry-run"])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_what_nobody_else_can_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    file = closed / "in" / "model.tflite"
    file.write_bytes(b"")
    open_to_all(file)
    outside = list(hidden_paths([tmp_path]))  # where the tests themselves lie may be closed already
    closed.chmod(0o700)
    assert list(hidden_paths([file])) == (outside or [closed])
    closed.chmod(0o755)
    file.chmod(0o600)
    assert list(hidden_paths([file])) == (outside or [file])


def test_uninstall_touches_only_what_is_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "uninstall", "--unit-dir", str(tmp_path)]) == 2
    assert "no such service" in capsys.readouterr().err
    (tmp_path / "edgevision.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert main(["service", "uninstall", "--unit-dir", str(tmp_path)]) == 2
    assert "is not a service of edgevision" in capsys.readouterr().err
    assert (tmp_path / "edgevision.service").exists()


def test_a_name_that_systemd_would_not_take_is_refused() -> None:
    for name in ("", "Ants", "../x", "a.b", "1st", "x" * 32):
        with pytest.raises(UsageError, match="a service is called"):
            Service(name, ["/bin/true"], "")

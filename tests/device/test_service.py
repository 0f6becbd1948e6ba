"""The systemd unit, as systemd itself reads it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from edgevision_device import UsageError, main
from edgevision_device._commands import stream
from edgevision_device._commands._variables import read_variables
from edgevision_device._service import Service, hidden_paths, quoted
from edgevision_device._sinks import JsonLinesFile, SlowSink
from edgevision_device._sinks._mqtt import Mqtt
from edgevision_device._sinks._snapshots import Snapshots
from edgevision_device._sinks._webhook import Webhook

Install = Callable[..., "tuple[int, str, str]"]


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


@pytest.fixture
def install(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Install:
    """Run `service install` in a folder of its own, as if everybody could read what lies there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgevision_device._commands.service.hidden_paths", lambda paths: iter(()))
    monkeypatch.setattr("edgevision_device._commands.service._PRIVATE", ())
    for name in [name for name in os.environ if name.startswith("EDGEVISION_")]:
        monkeypatch.delenv(name)

    def install(*words: object, file: str = model.name) -> tuple[int, str, str]:
        line = ["service", "install", file, "--unit-dir", tmp_path / "units", *words]
        try:
            code = main([str(word) for word in line])
        except SystemExit as left:
            code = int(left.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return install


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is told: this machine's own is not to be touched."""
    program, told = tmp_path / "bin" / "systemctl", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(told))}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return told


def words_of(unit: str) -> list[str]:
    """Return the arguments that `stream` gets."""
    (line,) = (row for row in unit.splitlines() if row.startswith("ExecStart="))
    words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line.partition("=")[2])]
    return words[words.index("stream") + 1 :]


def parsed(words: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    stream.add_arguments(parser)
    return vars(parser.parse_args(words))


def test_a_dry_run_prints_the_unit_and_changes_nothing(
    install: Install, model: Path, tmp_path: Path, analyze: Callable[..., str]
) -> None:
    code, unit, _ = install("--name", "ants", "--source", "0", "--smooth", "5", "--dry-run", "--out", "labels.jsonl")
    assert code == 0
    assert not (tmp_path / "units").exists()
    # At the second start, after a reboot or a crash, the file is there.
    words = ["--source", "0", "--reconnect", "--smooth", "5", "--out", "labels.jsonl", "--append"]
    assert words_of(unit) == [str(model), *words]
    path = tmp_path / "ants.service"
    path.write_text(unit)
    assert analyze("verify", path).strip() == ""


def test_every_argument_of_stream_arrives(install: Install, model: Path) -> None:
    given = [
        *("--source", "0", "--source", "/dev/video2", "--size", "640x480", "--no-reconnect", "--rotate", "90"),
        *("--motion", "--motion-every", "2.5", "--threshold", "0.25", "--out", "a b.jsonl", "--rotate-mb", "1"),
        *("--keep=3", "--snapshots", "100%", "--snapshot-limit", "7", "--json", "--threads", "2", "--time-limit=3"),
    ]
    code, unit, err = install(*given, "--dry-run")
    assert (code, err) == (0, "")
    assert parsed(words_of(unit)) == {**parsed([str(model), *given]), "append": True}


@pytest.mark.parametrize(
    ("words", "reconnect"),
    [
        (["--source", "0", "--source", "photos/"], True),
        (["--source", "$EDGEVISION_YARD"], True),
        (["--source", "0", "--no-reconnect"], False),
        (["--source", "photos/"], None),
    ],
)
def test_a_camera_that_is_missing_at_boot_is_waited_for(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], reconnect: Optional[bool]
) -> None:
    monkeypatch.setenv("EDGEVISION_YARD", "rtsp://yard/")
    (tmp_path / "photos").mkdir()
    _, unit, err = install(*words, "--dry-run")
    assert err == ""
    assert parsed(words_of(unit))["reconnect"] is reconnect


def test_inputs_are_found_from_another_folder(install: Install, tmp_path: Path, data: Path, labels_file: Path) -> None:
    foreign = shutil.copy(data / "foreign.int8.tflite", tmp_path / "foreign.tflite")
    (tmp_path / "current.tflite").symlink_to(foreign)
    (tmp_path / "photos").mkdir()
    given = ["--source", "photos/", "--labels", "labels.txt", "--resize", "stretch", "--pixels", "-1..1"]
    code, unit, err = install(*given, "--delegate", "lib/libtpu.so", "--dry-run", file="current.tflite")
    assert (code, err) == (0, "")
    found = parsed(words_of(unit))
    # The link itself: where it leads may change.
    assert found["file"] == str(tmp_path / "current.tflite")
    assert found["labels"] == str(labels_file)
    assert found["source"] == [str(tmp_path / "photos")]
    assert found["delegate"] == str(tmp_path / "lib/libtpu.so")
    assert found["pixels"] == "-1..1"
    # Which the system finds among its own.
    _, unit, _ = install(*given, "--delegate", "libtpu.so.1", "--dry-run", file="current.tflite")
    assert parsed(words_of(unit))["delegate"] == "libtpu.so.1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "/srv/labels.jsonl"], "can write to /var/lib/edgevision only"),
        (["--out", "../labels.jsonl"], "can write to /var/lib/edgevision only"),
        (["--out", "labels.jsonl", "--overwrite"], "each start would replace what was recorded"),
        (["--video", "out.mp4"], "a video can be played when it has ended"),
        (["--window"], "a service has no screen"),
        (["--frames", "9"], "a service does not end"),
        (["--seconds", "9"], "a service does not end"),
        (["--name", "Ants"], "small letters"),
        (["--smooth", "five"], "--smooth"),
        (["--source"], "--source"),
        (["--threshold", "7"], "the threshold must lie between 0 and 1, got 7"),
        (["--source", "0"], "is given twice"),
        (["--keep", "-1"], "--keep must lie between 0 and 1000, got -1"),
        (["--rotate-mb", "1"], "--rotate-mb needs --out"),
        (["--web", "door"], "expected PORT or HOST:PORT"),
        (["--web", "0", "--web-token", "1234"], "at least 12"),
        (["--webhook", "door"], "expected http://"),
        (["--webhook", "$EDGEVISION_DOOR"], "there is no such environment variable"),
        (["--labels", "labels.txt"], "needs all of --labels, --resize, --pixels"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_fail_at_every_start_is_refused(install: Install, arguments: list[str], message: str) -> None:
    code, out, err = install("--source", "0", *arguments, "--dry-run")
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_damaged_file_is_refused(install: Install, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-100])
    code, out, err = install("--source", "0", "--dry-run")
    assert (code, out) == (2, "")
    assert "is damaged" in err


def test_what_the_user_of_the_service_cannot_read_is_refused(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision_device._commands.service.hidden_paths", lambda paths: iter([Path("/home/pi")]))
    code, out, err = install("--source", "photos/", "--source", "0", "--dry-run")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 4  # Python, the package, the model, the folder
    assert err.startswith("edgevision-device: error: the service's user cannot read /home/pi, where ")
    assert "/usr/bin/python3 -m venv /opt/edgevision" in err


def test_a_file_in_a_folder_of_which_a_service_has_its_own_is_refused(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision_device._commands.service._PRIVATE", (str(tmp_path),))
    code, out, err = install("--source", "0", "--dry-run")
    assert (code, out) == (2, "")
    assert f"my model.tflite lies in {tmp_path}, of which a service has its own: put it elsewhere" in err


def test_inputs_must_be_readable_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def hidden(paths: Sequence[object]) -> list[Path]:
        return [Path("/home/pi")] if str(*paths) in closed else []

    monkeypatch.setattr("edgevision_device._commands.service.hidden_paths", hidden)
    for closed[:] in (["my model.tflite"], ["photos/"]):
        code, _, err = install("--source", "photos/", "--source", "0", "--dry-run")
        assert code == 2
        assert f"cannot read /home/pi, where {closed[0]} lies: put it elsewhere" in err


SECRETS = ["--source", "rtsp://me:hush1@cam/", "--source", "http://cam/?key=hush2", "--source", "$EDGEVISION_YARD"]
SECRETS += ["--source", "rtsp://10.0.0.5/user=admin_password=hush7_channel=1_stream=0.sdp"]
SECRETS += ["--webhook", "https://hooks/hush3", "--web", "8080", "--web-token", "hush4-hush4-hush4"]


def test_secrets_are_for_root_alone(
    install: Install, tmp_path: Path, systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVISION_YARD", 'rtsp://me:hush5"`$\\@yard/')
    monkeypatch.setenv("EDGEVISION_MQTT_PASSWORD", "hush6")
    monkeypatch.setenv("EDGEVISION_CACHE", "/var/cache/mine")
    _, unit, _ = install(*SECRETS, "--dry-run")
    assert "hush" not in unit
    assert not (tmp_path / "units").exists()

    code, out, err = install(*SECRETS)
    assert (code, err) == (0, "")
    path, environment_path = tmp_path / "units/edgevision.service", tmp_path / "units/edgevision.env"
    assert path.read_text() == unit
    assert "hush" not in out + systemctl.read_text()
    assert systemctl.read_text().splitlines() == ["daemon-reload", "enable edgevision", "restart edgevision"]
    assert f"EnvironmentFile={environment_path}" in unit.splitlines()
    assert stat.S_IMODE(environment_path.stat().st_mode) == 0o600

    # A shell reads the file as systemd does. Then the arguments mean what was typed.
    line = 'set -a; . "$1"; exec env -0'
    done = subprocess.run(
        ["sh", "-c", line, "sh", environment_path], env={}, capture_output=True, text=True, check=True
    )
    variables = dict(each.split("=", 1) for each in done.stdout.split("\0") if each.startswith("EDGEVISION_"))
    assert "EDGEVISION_CACHE" not in variables  # the service's own is set in the unit
    assert variables["EDGEVISION_MQTT_PASSWORD"] == "hush6"
    assert variables["EDGEVISION_WEB_TOKEN"] == "hush4-hush4-hush4"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    meant = read_variables(argparse.Namespace(**parsed(words_of(unit))))
    path_source = "rtsp://10.0.0.5/user=admin_password=hush7_channel=1_stream=0.sdp"
    assert meant.source == ["rtsp://me:hush1@cam/", "http://cam/?key=hush2", 'rtsp://me:hush5"`$\\@yard/', path_source]
    assert meant.webhook == "https://hooks/hush3"

    assert main(["service", "uninstall", "--unit-dir", str(tmp_path / "units")]) == 0
    assert list((tmp_path / "units").iterdir()) == []


def test_secrets_of_a_service_go_when_it_is_installed_without_them(
    install: Install, tmp_path: Path, systemctl: Path
) -> None:
    assert install(*SECRETS[:2])[0] == 0
    assert (tmp_path / "units/edgevision.env").exists()
    assert install("--source", "0")[0] == 0
    assert not (tmp_path / "units/edgevision.env").exists()
    assert "EnvironmentFile" not in (tmp_path / "units/edgevision.service").read_text()


def test_where_systemd_does_not_run_uninstall_removes_what_install_wrote(
    install: Install, tmp_path: Path, systemctl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to connect to bus: Host is down' >&2\nexit 1\n")
    code, _, err = install(*SECRETS[:2])
    assert code == 1
    assert "Host is down; " in err
    assert "edgevision.service is written, and `service uninstall --name edgevision` removes it" in err
    assert len(list((tmp_path / "units").iterdir())) == 2
    assert main(["service", "uninstall", "--unit-dir", str(tmp_path / "units")]) == 1
    assert "edgevision.service is removed all the same" in capsys.readouterr().err
    assert not list((tmp_path / "units").iterdir())


def test_who_is_not_root_is_told_how_and_no_secret(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("edgevision_device._commands.service._UNITS", str(tmp_path / "units"))
    monkeypatch.setenv("EDGEVISION_YARD", "rtsp://me:hush5@yard/")
    code, out, err = install(*SECRETS)
    assert (code, out) == (2, "")
    assert "sudo --preserve-env=EDGEVISION_YARD " in err
    assert "hush" not in err
    assert not (tmp_path / "units").exists()


def test_sinks_of_a_service_close_before_systemd_kills_them() -> None:
    (limit_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", Service("ants", ["/bin/true"], "").unit(), re.MULTILINE)
    # A video, which takes longer, is refused.
    sinks: list[type[SlowSink[Any]]] = [JsonLinesFile, Mqtt, Snapshots, Webhook]
    assert all(sink.close_s < int(limit_s) / 2 for sink in sinks)


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


@pytest.mark.parametrize("where", ["units", "vendor"])
@pytest.mark.parametrize("kind", ["file", "masked", "leads nowhere"])
def test_another_service_of_that_name_is_neither_replaced_nor_hidden(
    install: Install, tmp_path: Path, systemctl: Path, monkeypatch: pytest.MonkeyPatch, where: str, kind: str
) -> None:
    monkeypatch.setattr("edgevision_device._commands.service._SYSTEM_UNITS", (str(tmp_path / "vendor"),))
    unit = tmp_path / where / "ssh.service"
    unit.parent.mkdir()
    if kind == "file":
        unit.write_text("[Service]\nExecStart=/usr/sbin/sshd -D\n")
    else:
        unit.symlink_to("/dev/null" if kind == "masked" else tmp_path / "nowhere")
    for words in ([], ["--dry-run"]):
        code, out, err = install("--name", "ssh", "--source", "0", *words)
        assert (code, out) == (2, "")
        assert f"--name ssh: {unit} is another service, not of edgevision; choose another name" in err
    assert not systemctl.exists()
    assert [path for path in tmp_path.glob("*/ssh.*") if path != unit] == []
    assert kind != "file" or "sshd" in unit.read_text()


def test_a_service_of_ours_is_replaced(install: Install, tmp_path: Path, systemctl: Path) -> None:
    for source in "01":
        assert install("--source", source)[0] == 0
    assert "--source 1" in (tmp_path / "units/edgevision.service").read_text()


def test_a_name_that_systemd_would_not_take_is_refused() -> None:
    for name in ("", "Ants", "../x", "a.b", "1st", "x" * 32):
        with pytest.raises(UsageError, match="a service is called"):
            Service(name, ["/bin/true"], "")

"""The Raspberry Pi's architecture, under qemu: scores against x86-64's, and some of the device's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_arm64_gives_the_scores_of_x86_64_and_passes_the_devices_tests(root: Path) -> None:
    line = [sys.executable, root / "tests" / "arm64" / "run.py", "--quick"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=900)
    if done.returncode == 3:  # this machine lacks something, and says what
        reason = done.stderr.strip().splitlines()[-1]
        if os.environ.get("CI") and os.getuid() == 0:
            pytest.fail(f"{reason}; .ci/run installs it")
        pytest.skip(f"make test-arm64 {reason}")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    for runtime in ("litert 2.3.0", "litert 2.1.0", "tflite-runtime 2.14.0", "onnxruntime"):
        assert f"| {runtime}" in done.stdout
    assert "FAILED" not in done.stdout
    print(done.stdout)

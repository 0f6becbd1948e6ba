"""Delegates: a real one, compiled here, and what is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from edgevision_device import Classifier, FileError, UsageError

#: The least that the interpreter takes for a delegate: it claims no operator, and counts how often it was asked.
#: Layout of TfLiteDelegate: tensorflow/lite/core/c/common.h; entry points: external_delegate_interface.h.
SOURCE = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct Delegate {
  void* data; int (*prepare)(void*, struct Delegate*); void* more[4]; int64_t flags; void* last[2];
} Delegate;
static int prepare(void* context, Delegate* self) {
  FILE* told = fopen(getenv("DELEGATE_TOLD"), "a"); fputs("asked\\n", told); fclose(told); return 0;
}
Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  Delegate* made = malloc(sizeof *made); memset(made, 0, sizeof *made); made->prepare = prepare; return made;
}
void tflite_plugin_destroy_delegate(Delegate* made) { free(made); }
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler to make a delegate with")
    source, made = tmp_path / "delegate.c", tmp_path / "libdelegate.so"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, source], check=True)
    return made


def test_a_delegate_is_asked_and_the_scores_are_the_same(
    library: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[str], None]
) -> None:
    require("tflite")
    monkeypatch.setenv("DELEGATE_TOLD", str(tmp_path / "told"))
    picture = np.random.default_rng(2).integers(0, 256, (8, 12, 3), np.uint8)
    plain = Classifier(data / "tiny.int8.tflite").scores(picture)
    assert np.array_equal(Classifier(data / "tiny.int8.tflite", delegate=str(library)).scores(picture), plain)
    assert (tmp_path / "told").read_text() == "asked\n"


def test_a_library_that_is_no_delegate_is_one_line(tmp_path: Path, data: Path, require: Callable[[str], None]) -> None:
    require("tflite")
    (tmp_path / "libx.so").write_bytes(b"no library")
    for library in (tmp_path / "libx.so", tmp_path / "none.so", "libm.so.6"):
        with pytest.raises(FileError, match=r"the delegate .* cannot be loaded"):
            Classifier(data / "tiny.int8.tflite", delegate=str(library))


def test_onnx_runtime_takes_no_delegate(data: Path, require: Callable[[str], None]) -> None:
    require("onnx")
    with pytest.raises(UsageError, match=r"only \.tflite files"):
        Classifier(data / "tiny.float32.onnx", delegate="libx.so")

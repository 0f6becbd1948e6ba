"""Pictures per second of fine-tuning EfficientNet-Lite0 on one GPU, over those of timm's PyTorch network, in one run.

    uv pip install --python .venv/bin/python 'jax[cuda12]'
    uv venv --python 3.11 .venvs/timm
    uv pip install --python .venvs/timm/bin/python torch torchvision timm
    .venv/bin/python benchmarks/gpu_finetuning.py --batch-size 128 --steps 50

Both train every layer of the network at 224 x 224, from random weights, on the same pictures in memory, with AdamW, in
batches of the same size; batch normalization stays in inference mode, as in edgevision's fine-tuning. edgevision's
side is its own model, batches and compiled step in Keras's `fit` on JAX, in mixed precision. timm's runs in a process
of its own, in channels-last order under `torch.autocast`, float16 with a GradScaler; its pictures go to the GPU as
bytes and are normalized there. While one side runs the other waits. A round is timm, edgevision, timm, and its ratio
edgevision over the mean of the two; the result is the median of the rounds with its 95 % interval. What compiles runs
before. Both must see the same kind of device.

So far this was run on a CPU alone, which says that it works and nothing about a GPU:

    .venv/bin/python benchmarks/gpu_finetuning.py --batch-size 4 --steps 1 --rounds 6
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stream_overhead import median_interval

SIZE, CLASSES = 224, 12
MODEL = "efficientnet-lite0"

#: Runs in timm's environment: pictures file, batch size, precision, dropout, learning rate, whether to compile. Says
#: what it runs on, then answers each line it reads with the seconds and the mean loss of an epoch.
SERVE = """
import json, sys, time
import numpy as np
import timm, torch
from torch import nn
stored, size, precision, dropout, rate, compiled = sys.argv[1:]
size, dtype = int(size), getattr(torch, precision)
device = "cuda" if torch.cuda.is_available() else "cpu"
name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
with np.load(stored) as file:
    pixels, targets = torch.from_numpy(file["pixels"]), torch.from_numpy(file["targets"])
model = timm.create_model("efficientnet_lite0", num_classes=int(targets.max()) + 1, drop_rate=float(dropout))
model = model.to(device, memory_format=torch.channels_last).train()
for module in model.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.eval().requires_grad_(False)
step = torch.compile(model) if compiled == "True" else model
torch.backends.cudnn.benchmark = True
optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], float(rate))
scaler = torch.amp.GradScaler(device, enabled=precision == "float16")
criterion = nn.CrossEntropyLoss()
print(json.dumps({"device": device, "name": name, "torch": torch.__version__, "timm": timm.__version__}), flush=True)
for _ in sys.stdin:
    order, total = torch.randperm(len(pixels)), torch.zeros((), device=device)
    began = time.perf_counter()
    for start in range(0, len(order), size):
        places = order[start : start + size]
        batch = pixels[places]
        wanted = targets[places]
        if device == "cuda":
            batch, wanted = batch.pin_memory(), wanted.pin_memory()
        batch = batch.to(device, non_blocking=True).permute(0, 3, 1, 2)  # which is channels-last
        batch, wanted = (batch.float() - 127) / 128, wanted.to(device, non_blocking=True)
        with torch.autocast(device, dtype):
            loss = criterion(step(batch), wanted)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += loss.detach()
    loss = float(total) * size / len(order)  # waits for the device
    print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss}), flush=True)
"""

#: Trains for an epoch; returns seconds and loss.
Epoch = Callable[[], dict[str, float]]


class Timm:
    """timm's network in another process."""

    def __init__(self, python: Path, arguments: list[object], folder: Path) -> None:
        self._errors = (folder / "errors.txt").open("w+")
        self._child = subprocess.Popen(
            [str(python), "-c", SERVE, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.told = self._answer()

    def epoch(self) -> dict[str, float]:
        """Train for an epoch; return seconds and loss."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write("\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        answer = self._child.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise SystemExit(f"timm ended:\n{self._errors.read()[-2000:]}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(60)
        except subprocess.TimeoutExpired:  # in the middle of an epoch
            self._child.kill()
            self._child.wait()
        self._errors.close()


def make_ours(pixels: np.ndarray, targets: np.ndarray, batch_size: int, precision: str) -> tuple[Epoch, dict[str, Any]]:
    """Build edgevision's model and batches; return what trains for an epoch, and what it runs on."""
    import jax
    import keras

    from edgevision import Augmentation, Pictures, TrainingOptions
    from edgevision._batches import Changes, make_batches
    from edgevision._fit import Phase, prepare
    from edgevision._hardware import use_hardware
    from edgevision._networks import NETWORKS
    from edgevision._transfer import freeze_before, make_head

    names = tuple(str(place) for place in range(len(pixels)))
    labels = tuple(f"label {place}" for place in range(CLASSES))
    pictures = Pictures(pixels, np.arange(len(pixels)), targets, labels, names, names, "noise")
    options = TrainingOptions(MODEL, batch_size=batch_size, unfreeze_from="stem_conv", schedule="constant")
    with use_hardware(f"mixed_{precision}") as hardware:
        network = NETWORKS[MODEL]
        body = network.body((SIZE, SIZE))
        freeze_before(body, "stem_conv")
        x = keras.layers.Dropout(network.dropout)(body.outputs[0])
        model: Any = keras.Model(body.inputs[0], make_head("softmax", CLASSES)(x))
        batches = make_batches(Changes(pictures, Augmentation(), 0), batch_size, shuffle=True)
        prepare(model, options, Phase("fine-tune", 1, RATE, "softmax", CLASSES), len(batches))

    def epoch() -> dict[str, float]:
        began = time.perf_counter()
        history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history  # fetches the loss, so it waits
        return {"seconds": time.perf_counter() - began, "loss": history["loss"][0]}

    kind = "cuda" if jax.default_backend() == "gpu" else jax.default_backend()
    told = {"device": kind, "name": jax.devices()[0].device_kind, "jax": jax.__version__, "keras": keras.__version__}
    return epoch, told | {"devices": list(hardware.devices)}


RATE = 1e-4


def measure(ours: Epoch, theirs: Epoch, pictures: int, rounds: int, warm_up: int = 2) -> dict[str, Any]:
    """Run the rounds; return pictures per second of both, the ratio, and its interval."""
    for _ in range(warm_up):
        theirs(), ours()
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        before, mine, after = theirs(), ours(), theirs()
        theirs_s = (before["seconds"] + after["seconds"]) / 2
        found.append({
            "timm_pictures_per_s": pictures / theirs_s,
            "edgevision_pictures_per_s": pictures / mine["seconds"],
            "ratio": theirs_s / mine["seconds"],
            "timm_loss": after["loss"],
            "edgevision_loss": mine["loss"],
        })  # fmt: skip
    low, high = median_interval([each["ratio"] for each in found])
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    return {**middle, "ratio_low": low, "ratio_high": high, "rounds": found}


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", type=Path, default=Path(".venvs/timm/bin/python"), metavar="PYTHON",
                        help="of the environment with timm (default: .venvs/timm/bin/python)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="(default: 128)")
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="batches a turn (default: 50)")
    parser.add_argument("--rounds", type=int, default=21, metavar="R", help="(default: 21; at least 6)")
    parser.add_argument("--precision", choices=("bfloat16", "float16"), default="bfloat16", help="(default: bfloat16)")
    parser.add_argument("--compile", action="store_true", help="timm's network by torch.compile too")
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    args = parser.parse_args()
    if args.batch_size < 1 or args.steps < 1 or args.rounds < 6:
        parser.error("--batch-size and --steps must be positive, --rounds at least 6: fewer have no 95 % interval")
    if not args.timm.exists():
        parser.error(f"no {args.timm}; the first lines of --help say how to make it")
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two processes share the GPU's memory
    generator = np.random.default_rng(0)
    count = args.batch_size * args.steps
    targets = np.arange(count) % CLASSES
    # One grey a label under the noise: something to learn, so that the losses say whether both do.
    pixels = (
        generator.integers(0, 128, (count, SIZE, SIZE, 3), np.uint8)
        + (targets * 10).astype(np.uint8)[:, None, None, None]
    )
    ours, told = make_ours(pixels, targets, args.batch_size, args.precision)
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "pictures.npz"
        np.savez(stored, pixels=pixels, targets=targets)
        from edgevision._networks import NETWORKS

        dropout = NETWORKS[MODEL].dropout
        arguments = [stored, args.batch_size, args.precision, dropout, RATE, args.compile]
        timm = Timm(args.timm, arguments, Path(folder))
        try:
            if timm.told["device"] != told["device"]:
                raise SystemExit(
                    f"JAX runs on {told['device']}, PyTorch on {timm.told['device']}; install both for the same device"
                )
            record = measure(ours, timm.epoch, count, args.rounds)
        finally:
            timm.close()
    given = {name: getattr(args, name) for name in ("batch_size", "steps", "precision", "compile")}
    record |= {"model": MODEL, "size_wh": [SIZE, SIZE], **given, "edgevision": told, "timm": timm.told}
    if args.json:
        print(json.dumps(record))
        return 0
    print(f"{MODEL}, {SIZE} x {SIZE}, {args.precision}, batches of {args.batch_size}, on {told['name']}")
    theirs = f"PyTorch {timm.told['torch']}, timm {timm.told['timm']}"
    of = {"timm": theirs, "edgevision": f"Keras {told['keras']}, JAX {told['jax']}"}
    for side, versions in of.items():
        speed, loss = record[f"{side}_pictures_per_s"], record[f"{side}_loss"]
        print(f"{side:10} {speed:9.1f} pictures a second, loss {loss:.3f}; {versions}")
    print(f"ratio {record['ratio']:.3f} (median of {args.rounds} rounds of 3 x {count} pictures; 95 % interval "
          f"{record['ratio_low']:.3f} to {record['ratio_high']:.3f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How fast others are with the same network, in one run: `make bench`, or python benchmarks/field.py [FILE …].

Of each `.tflite` file all take part that can read it, or the same weights in the format that they read: each in a
process of its own and, but for edgevision, in an environment of its own under `.venvs/`, which uv makes. Without FILE
it is EfficientNet-Lite0 as int8 and as float32, exported to exports/field/ if it is not there.

From the frame: 640 x 480, BGR, in memory; resize, run, name the best label. Bare invoke: the model runs on an input
that is there already. Turns of about `--turn-seconds` are dealt out in rounds, in an order shuffled anew; each starts
with 5 runs that do not count, and while one works the others wait. A ratio is that of a round: from the frame by the
mean time of a frame, bare by p50; the table has the median of the rounds with its 95 % interval. More than 1 is slower
than edgevision. What cannot take part is a row with the reason. Run it on an idle machine: our loop wants a core beside
the runtime's threads.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edgevision_benchmarks._load import LoadMeter
from edgevision_benchmarks._speed import LEAST_ROUNDS
from edgevision_device import Classifier, count_cores
from environments import ROOT
from field_files import Files, default_files
from field_peers import PEERS, Peer, PeerFailed, Process, Turn
from stream_overhead import median_interval, moving_pictures

GROUPS = {"frame": "from the frame", "bare": "bare invoke"}
#: More of the machine taken by others than this, and the table says that it was disturbed.
DISTURBED = 0.05
#: Before a turn: threads of some runtimes spin for a while after a run.
REST_S = 0.05


def tell(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(path: Path, peers: list[Peer], args: argparse.Namespace) -> dict[str, Any]:
    """Measure one file; return its record."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        classifier = Classifier(path, threads=args.threads)
        pictures = moving_pictures((640, 480))
        stored = folder / "pictures.npz"
        inputs = [classifier.preprocess(picture, "bgr") for picture in pictures]
        np.savez(stored, bgr=np.stack(pictures), input=np.concatenate(inputs))
        files = Files(path, folder, classifier.metadata)
        processes: dict[str, Process] = {}
        reasons: dict[str, str] = {}
        for peer in peers:
            tell(f"{path.name}: {peer.title}")
            try:
                processes[peer.name] = process = Process(peer, files, stored, args.threads, args.installed)
                stack.callback(process.close)
            except PeerFailed as error:
                if peer is peers[0]:
                    raise SystemExit(f"{path}: {error}") from error
                reasons[peer.name] = str(error)
        try:
            turns, load = take_turns(peers, processes, reasons, args)
        except PeerFailed as error:
            raise SystemExit(f"{path}: {peers[0].title}: {error}") from error
        ready = {name: process.ready for name, process in processes.items()}
    return {
        "file": path.name,
        "sha256": classifier.file.sha256,
        "recipe": classifier.metadata.recipe,
        "resize": classifier.metadata.resize,
        "input_size_wh": classifier.metadata.size_wh,
        "source_size_wh": [640, 480],
        "threads": args.threads,
        "cores": count_cores(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "rounds": args.rounds,
        "turn_seconds": args.turn_seconds,
        "seed": args.seed,
        **load,
        "rows": [row(peer, group, turns, ready, reasons) for group in GROUPS for peer in peers if group in peer.groups],
    }


def take_turns(
    peers: list[Peer], processes: dict[str, Process], reasons: dict[str, str], args: argparse.Namespace
) -> tuple[dict[tuple[str, str], list[Turn]], dict[str, Any]]:
    """Deal out the rounds; what fails is out from then on, with its reason.

    Returns:
        The turns by peer and group, and what shares of the machine others had.

    Raises:
        PeerFailed: it is edgevision that fails, which the others are compared with.
    """
    pairs = [
        (peer.name, group) for peer in peers for group in peer.groups
        if peer.name in processes and group in processes[peer.name].ready["groups"]
    ]  # fmt: skip
    turns: dict[tuple[str, str], list[Turn]] = {pair: [] for pair in pairs}
    counts: dict[tuple[str, str], int] = {}
    meter, shuffled = LoadMeter(), random.Random(args.seed)
    # The first round says how often a run fits into a turn, and does not count.
    for number in range(args.rounds + 1):
        tell(f"round {number} of {args.rounds}")
        shuffled.shuffle(pairs)
        for name, group in [pair for pair in pairs if pair[0] not in reasons]:
            time.sleep(REST_S)
            meter.start()
            try:
                answer = processes[name].run(group, counts.get((name, group), 10))
            except PeerFailed as error:
                if name == "ours":
                    raise
                reasons[name] = str(error)
                continue
            meter.stop(answer["own_s"])
            turn = Turn.of(answer)
            if number == 0:
                counts[name, group] = max(5, round(1e3 * args.turn_seconds / max(turn.p50_ms, 1e-3)))
            else:
                turns[name, group].append(turn)
    load = meter.load()
    return turns, {"others_share": load.others_share, "steal_share": load.steal_share}


def row(
    peer: Peer,
    group: str,
    turns: dict[tuple[str, str], list[Turn]],
    ready: dict[str, dict[str, Any]],
    reasons: dict[str, str],
) -> dict[str, Any]:
    """Return what is known of one peer in one group; `reason` alone where it did not take part."""
    versions = ready.get(peer.name, {}).get("versions", {})
    found: dict[str, Any] = {"group": group, "peer": peer.name, "title": peer.title, "versions": versions}
    if peer.name in reasons:
        return {**found, "reason": reasons[peer.name]}
    own, ours = turns[peer.name, group], turns["ours", group]
    by = "mean_ms" if group == "frame" else "p50_ms"
    ratios = [getattr(theirs, by) / getattr(first, by) for theirs, first in zip(own, ours)]
    low, high = median_interval(ratios)
    cpu_ms = [turn.cpu_ms for turn in own if turn.cpu_ms is not None]
    labels, expected = ready[peer.name][f"{group}_labels"], ready["ours"][f"{group}_labels"]
    told = labels is not None and None not in labels
    return {
        **found,
        "per_second": 1e3 / statistics.median(turn.mean_ms for turn in own),
        "p50_ms": statistics.median(turn.p50_ms for turn in own),
        "cpu_ms": statistics.median(cpu_ms) if cpu_ms else None,
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "same_labels": sum(a == b for a, b in zip(labels, expected)) if told else None,
        "compared_labels": len(expected) if told else None,
        "ratios": ratios,
    }


def table(record: dict[str, Any]) -> str:
    """Write a file's record as Markdown."""
    plural = "" if record["threads"] == 1 else "s"
    size = "{} x {}".format(*record["input_size_wh"])
    lines = [f"### {record['file']}, {size}, {record['threads']} thread{plural}", ""]
    for group, title in GROUPS.items():
        what = "frames/s" if group == "frame" else "runs/s"
        over = "time a frame over ours (95 %)" if group == "frame" else "p50 over ours (95 %)"
        lines += [f"| {title} | {what} | p50 ms | CPU ms | {over} | same label |", "|---|---|---|---|---|---|"]
        lines += [table_row(each) for each in record["rows"] if each["group"] == group]
        lines.append("")
    others = record["others_share"]
    lines.append(
        f"{record['rounds']} rounds; {record['cores']} cores, {record['machine']}, Python {record['python']}; "
        + ("not known what others used" if others is None else f"others used {100 * others:.0f} % of the machine")
        + (": **disturbed**" if others is not None and others > DISTURBED else "")
        + "."
    )
    return "\n".join(lines)


def table_row(found: dict[str, Any]) -> str:
    """Write one row."""
    # Ours has two versions: its own and the runtime's.
    versions = [f"{'LiteRT ' if name == 'ai-edge-litert' else ''}{version}"
                for name, version in found["versions"].items()]  # fmt: skip
    title = f"{found['title']} ({', '.join(versions)})" if versions else found["title"]
    if "reason" in found:
        return f"| {title} | {found['reason'].replace('|', '/')} | | | | |"
    same = "-" if found["same_labels"] is None else f"{found['same_labels']} of {found['compared_labels']}"
    cpu = "-" if found["cpu_ms"] is None else f"{found['cpu_ms']:.2f}"
    ratio = f"{found['ratio']:.3f} ({found['ratio_low']:.3f} to {found['ratio_high']:.3f})"
    return f"| {title} | {found['per_second']:.1f} | {found['p50_ms']:.2f} | {cpu} | {ratio} | {same} |"


def main() -> int:
    """Parse the arguments, measure, print."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=".tflite files that edgevision wrote")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every runtime (default: 1)")
    parser.add_argument("--rounds", type=int, default=21, metavar="R", help=f"at least {LEAST_ROUNDS} (default: 21)")
    parser.add_argument("--turn-seconds", type=float, default=0.7, metavar="S", help="of a turn (default: 0.7)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order (default: 0)")
    parser.add_argument(
        "--peers", default=",".join(names), metavar="LIST", help=f"of {', '.join(names)} (default: all)"
    )
    parser.add_argument("--installed", action="store_true",
                        help="make no environments: those take part whose packages are here")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON record a file")
    args = parser.parse_args()
    if args.threads < 1 or not args.turn_seconds > 0:
        parser.error("--threads and --turn-seconds must be positive")
    if args.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be {LEAST_ROUNDS} or more, for an interval of 95 %, got {args.rounds}")
    wanted = set(args.peers.split(","))
    if not wanted <= set(names):
        parser.error(f"--peers are some of {', '.join(names)}, got {', '.join(sorted(wanted.difference(names)))}")
    for path in args.files:
        if path.suffix != ".tflite" or not path.exists():
            parser.error(f"FILE is a .tflite file that edgevision wrote, got {path}")
    peers = [peer for peer in PEERS if peer.name in wanted | {"ours"}]
    for path in args.files or default_files(ROOT):
        record = measure(path, peers, args)
        print(json.dumps(record) if args.json else table(record) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

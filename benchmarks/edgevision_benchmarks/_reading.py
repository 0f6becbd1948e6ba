"""A report that was written, read back into its dataclasses; nothing in it is believed before it is checked."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, NoReturn, Union, cast, get_args, get_origin, get_type_hints

from edgevision_device import FileError, Percentiles

from ._measurement import Measurement
from ._report import FORMAT, Report
from ._speed import TimeRatio
from ._statistics import PairedDifference
from ._threads import ThreadSweep

__all__ = ["Misfit", "decode", "read_report"]


#: Far less than a clock can tell, and enough for logarithms and ratios.
_LEAST_MS = 1e-9
#: What may stand among the keys of what it belongs to, and the keys that are not called as their fields are.
_KEYS: dict[type[Any], dict[str, str]] = {
    Percentiles: {},
    TimeRatio: {"low": "ratio_low", "high": "ratio_high"},
    PairedDifference: {name: f"{name}_right" for name in ("both", "only_a", "only_b", "neither")},
    ThreadSweep: {"recommended": "recommended_threads"},
}


class Misfit(Exception):
    """A value that is not what the schema says; the message says where."""


def read_report(path: Union[str, os.PathLike[str]]) -> Report:
    """Read `report.json`, or the one in a folder; keys that are not known are left out.

    A key that this version writes and an older one did not gets its default, or is None where it may be.

    Raises:
        FileError: it cannot be read, is no report, or has a newer format.
    """
    file = Path(path)
    if file.is_dir():
        names = ("report.json", "merged.json")
        file = next((path for path in map(file.joinpath, names) if path.exists()), file / names[0])
    try:
        record: Any = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise FileError(f"cannot read the report {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{file} is no report: it is no JSON ({error}); give a report.json") from error
    found: Any = cast("dict[str, Any]", record).get("format") if isinstance(record, dict) else None
    if type(found) is not int or found < 1:
        raise FileError(f"{file} is no report: it has no format number; give a report.json of edgevision benchmark")
    if "tables" in record:
        raise FileError(f"{file} is several reports side by side; give one of them")
    if found > FORMAT:
        raise FileError(f"{file} has format {found}, and this edgevision reads up to {FORMAT}; update edgevision")
    try:
        report = cast(Report, _decode(Report, record, ""))
        if report.settings.seed < 0:
            raise Misfit(f"settings.seed must be at least 0, got {report.settings.seed}")
        if not report.files:
            raise Misfit("files must hold one file at least")
        for place, row in enumerate(report.files):
            if row.measured is not None:
                if row.size_bytes < 1:
                    raise Misfit(f"files[{place}].size_bytes must be more than 0, got {row.size_bytes}")
                _check(row.measured, f"files[{place}].measured")
    except Misfit as misfit:
        raise FileError(f"{file} is no report: {misfit}; give a report.json of edgevision benchmark") from None
    return report


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check(found: Measurement, where: str) -> None:
    """Refuse what no measurement gives, and what reckoning with it would stumble over."""
    if any(min(row.values(), default=0) < 0 or not sum(row.values()) for row in found.confusion.values()):
        raise Misfit(f"{where}.confusion must count pictures")
    intervals = {} if found.latency_intervals is None else found.latency_intervals
    passes = () if found.mlperf is None else found.mlperf.passes
    times: dict[str, tuple[float, ...]] = {
        "latency": dataclasses.astuple(found.latency)[1:],
        "round_p50_ms": found.round_p50_ms,
        **{f"latency_intervals.{name}": interval for name, interval in intervals.items()},
        **{f"mlperf.passes[{n}]": dataclasses.astuple(each.latency)[1:] for n, each in enumerate(passes)},
    }
    for name, times_ms in times.items():
        if not min(times_ms, default=1.0) > _LEAST_MS:
            raise Misfit(f"{where}.{name} must be more than {_LEAST_MS:g} ms, got {min(times_ms):g}")
    if found.latency_intervals is not None and not {"p50_ms", "p90_ms", "p99_ms"} <= intervals.keys():
        raise Misfit(f"{where}.latency_intervals must hold p50_ms, p90_ms and p99_ms")
    if found.histogram is not None and not found.histogram.is_sound:
        raise Misfit(f"{where}.histogram must count runs in ascending bins")
    if found.top5 is not None and not 0 <= found.top5.right <= found.top5.pictures:
        raise Misfit(f"{where}.top5.right must lie between 0 and its pictures, got {found.top5.right}")
    if found.paired is not None:
        difference = found.paired.difference
        if min(difference.both, difference.only_a, difference.only_b, difference.neither) < 0:
            raise Misfit(f"{where}.paired must count pictures")
        if not 0 < difference.confidence < 1:
            raise Misfit(f"{where}.paired.confidence must lie between 0 and 1, got {difference.confidence:g}")
    operators = found.operator_times
    if operators is not None and operators.operators and not operators.sum_ms > 0:
        raise Misfit(f"{where}.operator_times must take more than 0 ms, got {operators.sum_ms:g}")


def decode(kind: Any, value: Any) -> Any:
    """Turn JSON types into an annotation's type: dataclasses, tuples, lists, dicts and what may be None.

    Raises:
        Misfit: the value is not what the annotation says.
    """
    return _decode(kind, value, "")


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON types into `kind`, an annotation of a field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:
        inner = next(each for each in arguments if each is not type(None))
        return None if value is None and type(None) in arguments else _decode(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _build(cast("type[Any]", kind), _typed(dict, value, where), where)
    if origin in (tuple, list):
        values = [_decode(arguments[0], each, f"{where}[{n}]") for n, each in enumerate(_typed(list, value, where))]
        if origin is tuple and arguments[-1] is not Ellipsis and len(values) != len(arguments):
            raise Misfit(f"{where} must hold {len(arguments)} values, got {len(values)}")
        return values if origin is list else tuple(values)
    if origin is dict:
        items = cast("dict[str, Any]", _typed(dict, value, where)).items()
        # JSON has no keys but text.
        return {arguments[0](key): _decode(arguments[1], each, f"{where}.{key}") for key, each in items}
    if kind is float:
        return float(_typed(int if type(value) is int else float, value, where))
    return _typed(kind, value, where) if kind in (int, str, bool) else value


def _build(kind: type[Any], record: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    keys = _KEYS.get(kind, {})
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if not field.compare:
            continue  # not in a record: what stands there under this name is somebody else's
        key, hint = keys.get(field.name, field.name), hints[field.name]
        place = f"{where}.{key}" if where else key
        if key in record:
            values[field.name] = _decode(hint, record[key], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            if hint in _KEYS:
                values[field.name] = _build(cast("type[Any]", hint), record, where)
                continue
            if type(None) not in get_args(hint):
                raise Misfit(f"it lacks {place}")
            values[field.name] = None
    built = kind(**values)
    if isinstance(built, TimeRatio) and not 0 < built.low <= built.ratio <= built.high:
        told = f"{built.low:g}, {built.ratio:g}, {built.high:g}"
        raise Misfit(f"{where}: ratio_low, ratio and ratio_high must be more than 0 and ascend, got {told}")
    return built


def _typed(kind: type[Any], value: Any, where: str) -> Any:
    # Not isinstance: true is an int to Python, and none to JSON.
    if type(value) is not kind:
        names = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
        raise Misfit(f"{where or 'it'} must be {names.get(kind, 'true or false')}, got {json.dumps(value)[:40]}")
    # JSON bounds no number: 1e999 is read as infinity, and a whole number may not fit a float.
    if kind in (int, float) and not abs(value) < 2**63:
        raise Misfit(f"{where} is too large for a number that was measured")
    return value

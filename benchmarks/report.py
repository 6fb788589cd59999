"""Outcomes as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydlx.benchmarks.case import NATIVE, REFERENCE, Target
from pydlx.benchmarks.harness import Finding, Outcome, Race, Verdict
from pydlx.files import replacing
from pydlx.tables import print_table

LEGEND = """\
native: best and median time of one call.  copies: how many plain copies of the input one call costs.
× name: how many times as long the named way takes; its own best against native's best.  In brackets: what is asked.
"""


def print_outcomes(op: str, outcomes: Sequence[Outcome]) -> None:
    """Prints one op's outcomes as a table with a column for every candidate, followed by its quantities."""
    races = [outcome for outcome in outcomes if isinstance(outcome, Race)]
    floors = {name for race in races for name in race.case.floors}
    names = dict.fromkeys(name for race in races for name in race.others)
    others = sorted(names, key=lambda name: (name in floors, name == REFERENCE))
    if races:
        heads = [_plural(name) if name in floors else f"× {name}" for name in others]
        print_table([_row(race, others) for race in races], [op, "native ms (median)", *heads, ""])
    else:
        print(op)
    for outcome in outcomes:
        if isinstance(outcome, Finding):
            print(_sentence(outcome))
    missing = sorted({name for race in races for name in race.missing})
    if missing:
        print(f"  not installed, left out: {', '.join(missing)}")


def format_summary(outcomes: Iterable[tuple[str, Outcome]]) -> str:
    """How many targets were met, and each that was not."""
    verdicts = [(op, _label(outcome), verdict) for op, outcome in outcomes for verdict in outcome.verdicts]
    if not verdicts:
        return "no targets are set for these cases on this device"
    lines = [f"targets met: {sum(verdict.met is True for *_, verdict in verdicts)} of {len(verdicts)}"]
    for op, label, verdict in verdicts:
        if not verdict.met:
            lines.append(f"  {_fate(verdict)}: {op} {label}: {verdict.text}")
    return "\n".join(lines)


def write_json(path: Path, machine: dict[str, Any], outcomes: Iterable[tuple[str, Outcome]]) -> None:
    """Writes everything measured, seconds and ratios, atomically."""
    text = json.dumps(as_document(machine, outcomes), indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A run's document, as :func:`write_json` wrote it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"machine", "results"} <= document.keys():
        raise ValueError(f"'{path}' must be a file that `pydlx bench --json` wrote")
    return document


def as_document(machine: dict[str, Any], outcomes: Iterable[tuple[str, Outcome]]) -> dict[str, Any]:
    """Everything measured, in plain types."""
    return {"machine": machine, "results": [{"op": op, **as_dict(outcome)} for op, outcome in outcomes]}


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """One outcome in plain types."""
    verdicts: list[dict[str, Any]] = [{"target": verdict.text, "met": verdict.met} for verdict in outcome.verdicts]
    if isinstance(outcome, Finding):
        quantity = outcome.quantity
        return {"quantity": quantity.label, "value": outcome.value, "unit": quantity.unit, "targets": verdicts}
    for verdict, target in zip(verdicts, outcome.case.targets, strict=True):
        measured = target.against in outcome.timings
        verdict |= {"against": target.against, "asked": outcome.asked_ratio(target) if measured else None}
    return {
        "case": outcome.case.label,
        "seconds": {
            name: {"min": timing.minimum, "median": timing.median, "rounds": len(timing.laps)}
            for name, timing in outcome.timings.items()
        },
        "times_native": {
            name: {"of_minima": outcome.ratio(name), "median_of_rounds": outcome.median_ratio(name)}
            for name in outcome.timings
            if name != NATIVE
        },
        "not_installed": list(outcome.missing),
        "targets": verdicts,
    }


def _row(race: Race, others: Sequence[str]) -> list[str]:
    native = race.native
    cells = [_cell(race, name) for name in others]
    fates = {_fate(verdict) for verdict in race.verdicts}
    fate = next((fate for fate in ("MISSED", "not measured", "met") if fate in fates), "")
    return [f"  {race.case.label}", f"{_milliseconds(native.minimum)} ({_milliseconds(native.median)})", *cells, fate]


def _cell(race: Race, name: str) -> str:
    """The ratio to one candidate, with what is asked of it."""
    if name not in race.timings:
        return "-"
    is_floor = name in race.case.floors
    ratio = 1 / race.ratio(name) if is_floor else race.ratio(name)
    asked = [_bound(target, is_floor) for target in race.case.targets if target.against == name]
    return " ".join([_short(ratio), *asked])


def _bound(target: Target, is_floor: bool) -> str:
    alternative = f" or {target.seconds * 1e3:g} ms" if target.seconds else ""
    return f"(≤ {target.limit:.3g}{alternative})" if is_floor else f"(≥ {1 / target.limit:.3g})"


def _sentence(finding: Finding) -> str:
    (verdict,) = finding.verdicts
    value = f"{finding.value:.2g} {finding.quantity.unit}".rstrip()
    return f"  {finding.quantity.label}: {value} ({verdict.text})  {_fate(verdict)}"


def _fate(verdict: Verdict) -> str:
    return {True: "met", False: "MISSED", None: "not measured"}[verdict.met]


def _label(outcome: Outcome) -> str:
    return outcome.case.label if isinstance(outcome, Race) else outcome.quantity.label


def _plural(name: str) -> str:
    return "copies" if name == "copy" else f"{name}s"


def _short(ratio: float) -> str:
    """Three figures, without decimals from 100 on."""
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"

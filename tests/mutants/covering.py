"""Which tests may see a change of a line: those that run it, measured once and kept until pydlx/ or tests/ change."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from coverage import CoverageData
from judging import WORKERS

ROOT = Path(__file__).resolve().parents[2]
# Which tests to run on which kernels: the references are what most of pydlx.ops consists of.
SUITES = {"native": "tests", "reference": "tests/ops"}


def measured() -> dict[str, CoverageData]:
    """Which test runs which lines on which kernels, measured if it is not known of these sources."""
    sources = sorted(path for folder in ("pydlx", "tests") for path in (ROOT / folder).rglob("*.py"))
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = ROOT / ".cache" / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for kernels, suite in SUITES.items():
        path = folder / f"coverage-{kernels}-{key}"
        if not path.exists():
            print(f"measuring which test covers which line, on {kernels} kernels", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", "-n", str(WORKERS), "--dist", "worksteal"]
            command += ["--cov", "pydlx", "--cov-context", "test", "--cov-report", "", f"--kernels={kernels}", suite]
            unfinished = folder / f"unfinished-{path.name}"
            subprocess.run(command, cwd=ROOT, env={**os.environ, "COVERAGE_FILE": str(unfinished)}, check=True)
            unfinished.replace(path)
        found[kernels] = CoverageData(str(path))
        found[kernels].read()
    return found


def tests_of_line(coverage: dict[str, CoverageData], file: str, line: int) -> dict[str, tuple[str, ...]]:
    """By kernels, the tests that run the statement a line is in.

    Of a statement that none runs, those that run its function: Dynamo reads what it traces, and does not run it. Of one
    that runs at import, those that run any line of its file, or, if it only holds constants, the test files that name
    what it defines.
    """
    source = (ROOT / file).read_text()
    statement, body = lines_around(source, line)
    found = {}
    for kernels, data in coverage.items():
        by_line = data.contexts_by_lineno(str(ROOT / file))
        runs = _contexts(by_line, statement) or _contexts(by_line, body)
        if "" in runs or not body:  # at import, which may happen in whichever test is the first
            runs = _contexts(by_line, by_line)
        if runs == {""}:
            found[kernels] = _files_that_name(_public_names(source), SUITES[kernels])
        else:
            found[kernels] = _one_of_each_first({run.rsplit("|", 1)[0] for run in runs if run})
    return found


def lines_around(source: str, line: int) -> tuple[range, range]:
    """The lines of the statement that a line is in, of one with a body the head; and of the body of its function.

    Coverage knows a statement by those of its lines that have code of their own.
    """
    statement, function = range(line, line + 1), range(0)
    for node in ast.walk(ast.parse(source)):  # what is around a line comes before what is in it
        if isinstance(node, ast.stmt | ast.excepthandler) and _first_line(node) <= line <= (node.end_lineno or 0):
            parts = getattr(node, "body", [])
            end = _first_line(parts[0]) if parts else node.end_lineno + 1
            if line < end:
                statement = range(_first_line(node), end)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                function = range(end, node.end_lineno + 1)
    return statement, function


def _first_line(node: ast.AST) -> int:
    return min(part.lineno for part in (node, *getattr(node, "decorator_list", [])))


def _contexts(by_line: dict[int, list[str]], lines: Iterable[int]) -> set[str]:
    return set().union(*(by_line.get(line, []) for line in lines))


def _one_of_each_first(tests: set[str]) -> tuple[str, ...]:
    """Sorted, with one case of each test before the others, for what one sees another often sees as well."""
    firsts = {test.partition("[")[0]: test for test in sorted(tests, reverse=True)}.values()
    return (*sorted(firsts), *sorted(tests - set(firsts)))


def _public_names(source: str) -> list[str]:
    """What a module assigns."""
    statements = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [target for node in statements for target in getattr(node, "targets", None) or [node.target]]
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]


def _files_that_name(names: list[str], suite: str) -> tuple[str, ...]:
    if not names:
        return ()
    named = re.compile(rf"\b({'|'.join(names)})\b")
    files = sorted((ROOT / suite).rglob("test_*.py"))
    return tuple(str(path.relative_to(ROOT)) for path in files if named.search(path.read_text()))

"""Changes pydlx/ at one place at a time, by cosmic-ray's operators, and runs the tests that cover the line.

    python tests/mutants/python_half.py [--count 300] [--seed 0] [--only PART]

A place is drawn first and an operator of it then, so that arithmetic, which has many, does not crowd out the rest.
``covering.py`` knows which tests cover a line. Mutants that do what the source does are listed in ``equivalent.py``.
Fails if fewer than 92 of 100 others are seen.
"""

from __future__ import annotations

import argparse
import ast
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "mutants")]

from covering import measured, tests_of_line  # noqa: E402
from equivalent import EQUIVALENT  # noqa: E402
from judging import judge_all, tests_see_it  # noqa: E402

# A test that hangs ends the run and sees the mutant. The limit of a run is far beyond what all tests take, so that many
# tests are not mistaken for such a one.
HANGS = ("-o", "faulthandler_timeout=120", "-o", "faulthandler_exit_on_timeout=true")
TIMEOUT = 3600.0
LEAST_SEEN = 0.92


@dataclass(frozen=True)
class PythonMutant:
    """A module with one place changed."""

    file: str  # below the root
    line: int
    text: str
    tests: dict[str, tuple[str, ...]]  # those that cover the line, by what the ops run on

    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    def lines(self) -> tuple[str, str]:
        """The lines that differ, in the source and here."""
        before, after = (ROOT / self.file).read_text().splitlines(), self.text.splitlines()
        same = next(i for i, (a, b) in enumerate(zip([*before, None], [*after, None], strict=False)) if a != b)
        tail = 0
        while tail < min(len(before), len(after)) - same and before[-1 - tail] == after[-1 - tail]:
            tail += 1
        old, new = before[same : len(before) - tail], after[same : len(after) - tail]
        return " ".join(map(str.strip, old)), " ".join(map(str.strip, new))

    def change(self) -> str:
        """The lines, and what ran on them."""
        old, new = self.lines()
        return f"    - {old}\n    + {new}\n    {sum(map(len, self.tests.values()))} tests cover it"


# Arguments of matplotlib and Pillow that say how wide a line is and how large a letter.
LOOKS = {"font_size", "fontsize", "labelsize", "length", "linewidth", "size"}


def without_effect(source: str) -> set[tuple[int, int]]:
    """Where nothing can go wrong, as (line, column).

    Type annotations; zip's `strict`, an assertion that holds; plain numbers that say how a picture looks.
    """
    found: set[tuple[int, int]] = set()
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.keyword):
            looks = node.arg in LOOKS and isinstance(node.value, ast.Constant)
            parts += [node.value] if looks or node.arg == "strict" else []
        for part in parts:
            for inner in ast.walk(part) if isinstance(part, ast.expr) else ():
                if isinstance(inner, ast.expr):
                    found |= {(inner.lineno, column) for column in range(inner.col_offset, inner.end_col_offset or 0)}
    return found


def says_the_same(operator: str) -> bool:
    """Whether an operator rarely changes anything: `==` and `is` agree on what pydlx compares."""
    return operator.endswith(("_Is", "_IsNot")) and "Operator_Is" not in operator


def compiles(text: str) -> bool:
    """Whether it is Python at all, which a signature is not that has another operator in place of its lone `*`."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def places(files: list[Path]) -> dict[tuple[str, tuple[int, int]], list[MutationSpec]]:
    """What cosmic-ray could do at every place of these files."""
    found = defaultdict(list)
    with use_db(":memory:", WorkDB.Mode.create) as work:
        init(files, work, {})
        for item in work.work_items:
            (mutation,) = item.mutations
            found[str(mutation.module_path), mutation.start_pos].append(mutation)
    idle = {str(path): without_effect(path.read_text()) for path in files}
    kept = {}
    for (file, start), mutations in sorted(found.items()):
        mutations = [mutation for mutation in mutations if not says_the_same(mutation.operator_name)]
        if mutations and start not in idle[file]:
            kept[file, start] = mutations
    return kept


def drawn(files: list[Path], count: int, seed: int) -> Iterator[PythonMutant]:
    """A sample of mutants that are not known to do what the source does."""
    draw = random.Random(seed)
    candidates = places(files)
    coverage = measured()
    left = count
    for file, start in draw.sample(sorted(candidates), len(candidates)):
        if left == 0:
            return
        mutation = draw.choice(candidates[file, start])
        operator = cosmic_ray.plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
        text = mutate_code(Path(file).read_text(), operator, mutation.occurrence)
        name = str(Path(file).relative_to(ROOT))
        mutant = PythonMutant(name, start[0], text, tests_of_line(coverage, name, start[0]))
        if compiles(text) and (name, *mutant.lines()) not in EQUIVALENT:
            left -= 1
            yield mutant


def is_seen(mutant: PythonMutant) -> bool:
    """Whether a test that covers the line fails with a copy of the package that has the change."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "pydlx"
        shutil.copytree(ROOT / "pydlx", package, ignore=shutil.ignore_patterns("*.so"))
        for library in (ROOT / "pydlx").glob("*.so"):
            (package / library.name).symlink_to(library)
        (package / "benchmarks").symlink_to(ROOT / "benchmarks")
        (Path(folder) / mutant.file).write_text(mutant.text)
        for kernels, tests in mutant.tests.items():
            listed = Path(folder) / "tests"
            listed.write_text("\n".join(tests))
            options = [*HANGS, f"--kernels={kernels}", f"@{listed}"]
            if tests and tests_see_it(options, TIMEOUT, PYTHONPATH=folder, PYTHONSAFEPATH="1"):
                return True
    return False


def main() -> int:
    """Judge a sample; 1 if too few are seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="how many mutants (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default 0)")
    parser.add_argument("--only", default="", metavar="PART", help="files whose path holds this")
    options = parser.parse_args()
    files = sorted(path for path in (ROOT / "pydlx").rglob("*.py") if options.only in str(path.relative_to(ROOT)))
    mutants = list(drawn(files, options.count, options.seed))
    some = min(mutants, key=lambda mutant: len(mutant.tests["native"]) or sys.maxsize)
    if is_seen(replace(some, text=(ROOT / some.file).read_text())):
        raise SystemExit(f"tests fail on an unchanged copy of the package: those of {some.place()}")
    survivors = judge_all(mutants, is_seen)
    return int(len(mutants) - survivors < LEAST_SEEN * len(mutants))


if __name__ == "__main__":
    sys.exit(main())

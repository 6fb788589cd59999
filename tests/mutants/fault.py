"""A fault of a kernel: one change to csrc, and the wrong result that a user would meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """One planted fault."""

    file: str  # below csrc
    old: str
    new: str
    effect: str
    simd: str = ""  # PYDLX_SIMD of the tests; the best there is if empty
    tests: str = ""  # the test file, if it is not that of the op

    @property
    def kernels(self) -> str:
        """What the tests run on, as pytest's --kernels."""
        return "emulated" if self.file.endswith((".cuh", ".cu")) else "native"

    @property
    def test_file(self) -> str:
        """The tests that are to see it."""
        return f"tests/ops/test_{self.tests or self.file.split('/')[0]}.py"

    def plant(self, csrc: Path) -> None:
        """Put the fault into a copy of csrc."""
        path = csrc / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: the text {self.old!r} stands {text.count(self.old)} times, must be once")
        path.write_text(text.replace(self.old, self.new))

    def change(self) -> str:
        """What goes wrong."""
        return f"    {self.effect}\n    - {self.old}\n    + {self.new}"

    def place(self) -> str:
        """File and line."""
        text = (ROOT / "csrc" / self.file).read_text()
        return f"csrc/{self.file}:{text[: text.index(self.old)].count(chr(10)) + 1}"

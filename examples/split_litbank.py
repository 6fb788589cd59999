"""Splits a folder of annotated texts in LitBank's format, file by file, into training, validation and test sets.

    python examples/split_litbank.py litbank/ --out litbank-split

Sorts the files by name and copies every tenth to OUT/val, the one after it to OUT/test and the others to OUT/train.
Each book is one file, so that no sentence of a tested book is trained on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pydlx.data import EntityReport, read_litbank

EVERY = 10


def main() -> None:
    """Copies the files and prints what each set holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of *.tsv files")
    parser.add_argument("--out", type=Path, default=Path("litbank-split"), help="output folder")
    options = parser.parse_args()
    for part in ("train", "val", "test"):
        (options.out / part).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(options.folder.glob("*.tsv"))):
        part = {0: "val", 1: "test"}.get(number % EVERY, "train")
        shutil.copyfile(path, options.out / part / path.name)
    for part in ("train", "val", "test"):
        report = EntityReport()
        for _ in read_litbank(options.out / part, report):
            pass
        print(f"{part}: {report}")


if __name__ == "__main__":
    main()

"""Splits a folder of tables, such as LitBank's, by file into some to train on, to validate and to test by.

    python examples/split_litbank.py litbank/ --out litbank-split

Of the files in the order of their names every tenth goes to OUT/val, the one behind it to OUT/test, the others to
OUT/train, so that no sentence of a book that is tested was trained on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pydlx.data import EntityReport, read_litbank

EVERY = 10


def main() -> None:
    """Copies, and says what each part holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with *.tsv")
    parser.add_argument("--out", type=Path, default=Path("litbank-split"), help="folder that is written to")
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

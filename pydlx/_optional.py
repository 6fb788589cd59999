"""Imports of optional packages: if one is missing, the error names the extra of pydlx that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Packages that are installed under another name than they are imported by.
_INSTALLED_AS = {
    "PIL": "Pillow",
    "torch_fidelity": "torch-fidelity",
    "torchcrf": "pytorch-crf",
}


class MissingPackageError(ImportError):
    """A package of one of pydlx's extras is not installed."""


@contextmanager
def needed_for(what: str, extra: str) -> Iterator[None]:
    """Context manager for imports of optional packages.

    >>> with needed_for("drawing", extra="plot"):
    ...     import matplotlib  # doctest: +SKIP

    Args:
        what: What needs the packages, for the error message.
        extra: The extra of pydlx that installs them.

    Raises:
        MissingPackageError: ``drawing needs matplotlib: pip install "pydlx[plot]"``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "pydlx":  # a bug in pydlx, not a missing extra
            raise
        name = _INSTALLED_AS.get(package, package)
        raise MissingPackageError(f'{what} needs {name}: pip install "pydlx[{extra}]"', name=package) from error

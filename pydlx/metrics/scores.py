"""Results with a number for each class, in the form that loggers take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Scores(dict[str, Tensor]):
    """Scalars by name, as Lightning's ``log_dict`` takes them.

    The score of a class stands under both names, as in ``"iou/road"``. ``scores["iou"]`` gives those of all classes
    as one tensor (C,), though ``"iou"`` is none of the keys.
    """

    @classmethod
    def by_class(cls, scores: Mapping[str, Tensor], names: Sequence[str]) -> Scores:
        """Splits what has a dimension, which is that of the classes."""
        split = cls()
        for key, value in scores.items():
            if value.dim():
                split |= {f"{key}/{name}": each for name, each in zip(names, value.unbind(), strict=True)}
            else:
                split[key] = value
        return split

    def __missing__(self, key: str) -> Tensor:
        each = [value for name, value in self.items() if name.startswith(f"{key}/")]
        if not each:
            raise KeyError(key)
        return torch.stack(each)

    def __reduce__(self) -> tuple[type[Scores], tuple[OrderedDict[str, Tensor]]]:
        return Scores, (OrderedDict(self),)


# `torch.load` at its defaults makes instances of these only, by a call as `__reduce__` asks for.
torch.serialization.add_safe_globals([Scores])

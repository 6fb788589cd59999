"""Checks of arguments. Each error is one sentence: ``function: argument must be ..., got ...``.

``name`` is the function or class that is called, ``argument`` the parameter that is checked.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor


def described(value: Any) -> str:
    """A short description for error messages: a tensor's or array's dtype and shape, or else the value."""
    if isinstance(value, Tensor) or type(value).__module__ == "numpy":
        shape = tuple(getattr(value, "shape", ()))
        return f"{type(value).__name__} of {getattr(value, 'dtype', None)} and shape {shape}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_tensor(name: str, argument: str, value: Any) -> None:
    """Require a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {argument} must be a tensor, got {type(value).__name__}")


def check_floating(name: str, argument: str, value: Any) -> None:
    """Require a tensor of real floating-point numbers."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {argument} must be a tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name}: {argument} must be a floating-point tensor, got {value.dtype}")


def check_floating_dtype(name: str, argument: str, value: Any) -> None:
    """Require a floating-point dtype, or None."""
    if value is not None and not (isinstance(value, torch.dtype) and value.is_floating_point):
        raise TypeError(f"{name}: {argument} must be a floating-point dtype or None, got {described(value)}")


def check_real_tensor(name: str, argument: str, value: Any) -> None:
    """Require a tensor of real numbers."""
    check_tensor(name, argument, value)
    if value.is_complex():
        raise TypeError(f"{name}: {argument} must hold real numbers, got {value.dtype}")


def check_integers(name: str, argument: str, value: Any) -> None:
    """Require a tensor of integers; bool is refused."""
    check_tensor(name, argument, value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name}: {argument} must be integers, got {value.dtype}")


def check_bool(name: str, argument: str, value: Any) -> None:
    """Require a tensor of dtype bool, such as a mask."""
    check_tensor(name, argument, value)
    if value.dtype != torch.bool:
        raise TypeError(f"{name}: {argument} must be a bool tensor, got {value.dtype}")


def check_device(name: str, argument: str, value: Tensor, first: str, other: Tensor) -> None:
    """Require that `value` is on the device of `other`, which is the argument named `first`."""
    if not (value.is_cpu and other.is_cpu) and value.device != other.device:
        raise ValueError(f"{name}: {argument} must be on the device of {first}, {other.device}, got {value.device}")


def check_type(name: str, argument: str, value: Any, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Require an instance of one of the classes; `wanted` describes them in the error."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name}: {argument} must be {wanted}, got {described(value)}")


def check_path(name: str, argument: str, value: Any) -> None:
    """Require a path: a string or an ``os.PathLike``."""
    check_type(name, argument, value, (str, os.PathLike), "a path")


def check_beside(name: str, argument: str, value: Any, first: str, other: Tensor) -> None:
    """Require a tensor of real numbers on the device of `other`, which is the argument named `first`."""
    if not isinstance(value, Tensor) or value.is_complex():
        check_real_tensor(name, argument, value)
    if not (value.is_cpu and other.is_cpu):
        check_device(name, argument, value, first, other)


def check_one_of(name: str, argument: str, value: Any, choices: Collection[str | None]) -> None:
    """Require one of the choices, which are strings or None."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise ValueError(f"{name}: {argument} must be one of {', '.join(map(repr, choices))}, got {described(value)}")


def check_flag(name: str, argument: str, value: Any) -> None:
    """Require True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {argument} must be True or False, got {described(value)}")


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether the value is an integer, including NumPy's and symbolic ones but not bool."""
    return isinstance(value, (int, np.integer, torch.SymInt)) and not isinstance(value, bool)


def whole(name: str, argument: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """Require an integer from `least` to `most`; return it as an int (a SymInt stays one)."""
    if type(value) is not int:
        if not is_whole(value):
            raise TypeError(f"{name}: {argument} must be a whole number, got {described(value)}")
        value = value if isinstance(value, torch.SymInt) else int(value)
    if least is not None and value < least:
        wanted = (
            f"from {least} to {most}" if most else {0: "not negative", 1: "positive"}.get(least, f"at least {least}")
        )
        raise ValueError(f"{name}: {argument} must be {wanted}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name}: {argument} must be from {least} to {most}, got {value}")
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: {argument} must be a number of 64 bits, got one of {value.bit_length() + 1}")
    return value


def whole_or_none(name: str, argument: str, value: Any, least: int | None = None) -> int | None:
    """Require None or an integer of at least `least`; return it as an int or None."""
    if value is not None and not is_whole(value):
        raise TypeError(f"{name}: {argument} must be a whole number or None, got {described(value)}")
    return None if value is None else whole(name, argument, value, least)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether the value is a real number, including NaN, infinity, NumPy's and symbolic numbers but not bool."""
    if type(value) is float or type(value) is int:
        return True
    return isinstance(value, (Real, torch.SymFloat, torch.SymInt)) and not isinstance(value, bool)


def check_number(name: str, argument: str, value: Any) -> None:
    """Require a real number."""
    if not is_number(value):
        raise TypeError(f"{name}: {argument} must be a number, got {described(value)}")


def check_positive(name: str, argument: str, value: Any) -> None:
    """Require a positive number; infinity is allowed."""
    if type(value) is not float:
        check_number(name, argument, value)
    if not value > 0:
        raise ValueError(f"{name}: {argument} must be positive, got {value}")


def check_not_negative(name: str, argument: str, value: Any) -> None:
    """Require a finite number that is zero or positive."""
    if type(value) is not float:
        check_number(name, argument, value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}: {argument} must be zero or positive, and finite, got {value}")


def check_not_nan(name: str, argument: str, value: Any) -> None:
    """Require a number other than NaN; infinity is allowed."""
    if type(value) is not float:
        check_number(name, argument, value)
    if value != value:
        raise ValueError(f"{name}: {argument} must be a number, got NaN")


def listed(name: str, argument: str, value: Any, wanted: str) -> list[Any]:
    """Return the entries of any iterable other than a string or a mapping; `wanted` describes it in the error."""
    if type(value) is tuple or type(value) is list:
        return list(value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        with suppress(TypeError):  # iterating over a 0-dimensional array raises it
            return list(value)
    raise TypeError(f"{name}: {argument} must be {wanted}, got {described(value)}")


def whole_pair(name: str, argument: str, value: Any, meaning: str, least: int | None = None) -> tuple[int, int]:
    """Require two whole numbers, such as a size; `meaning` names them in the error."""
    try:
        first, second = value
    except (TypeError, ValueError):
        first = second = None
    if not all(is_whole(entry) and (least is None or entry >= least) for entry in (first, second)):
        raise ValueError(f"{name}: {argument} must be two whole numbers {meaning}, got {described(value)}")
    return int(first), int(second)


def numbers(name: str, argument: str, value: Any) -> list[float]:
    """Require a one-dimensional sequence or tensor of real numbers; return it as floats."""
    wanted = "a sequence of numbers"
    if isinstance(value, Tensor):
        if value.dim() != 1 or value.is_complex() or value.dtype == torch.bool or value.is_meta:
            raise TypeError(f"{name}: {argument} must be {wanted}, got {described(value)}")
        return value.tolist()
    entries = listed(name, argument, value, wanted)
    if not all(is_number(entry) for entry in entries):
        raise TypeError(f"{name}: {argument} must be {wanted}, got {described(value)}")
    return [float(entry) for entry in entries]

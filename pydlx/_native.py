"""Loads the compiled libraries, registers the ops with torch, and chooses between kernels and references.

The CPU library defines every op's schema (``csrc/library.cpp``), so it is loaded first; the CUDA library only adds
kernels, and also loads on machines without a GPU. Where nothing is compiled, :func:`register` defines the same schemas
from Python, so that ``torch.ops.pydlx`` has the same names everywhere.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pydlx import _autograd
from pydlx._checks import check_one_of
from pydlx._version import __version__


class NativeLibraryWarning(UserWarning):
    """The compiled kernels are missing or do not load, so the PyTorch references run instead."""


def _load_host() -> ModuleType | None:
    try:
        return importlib.import_module("pydlx._host")
    except ImportError:
        return None


def _load(path: Path) -> Exception | None:
    """Load one op library; return why it did not load, or None."""
    if not path.exists():
        return FileNotFoundError(f"{path.name} was not built")
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return error
    return None


def _cpu_library() -> Path:
    """Path of the library that defines the schemas; ``PYDLX_LIBRARY`` overrides it (the tests' emulated kernels)."""
    return Path(os.environ.get("PYDLX_LIBRARY") or _HERE / "_ops_cpu.so")


_HERE = Path(__file__).parent
_host = _load_host()
_cpu_error = _load(_cpu_library())
_cuda_error = _load(_HERE / "_ops_cuda.so") if _cpu_error is None else _cpu_error
_backend: ContextVar[str] = ContextVar("pydlx backend", default="native" if _cpu_error is None else "reference")
# The choices of all open `backend` blocks, in any thread. While it is empty, `use_native` does not read the ContextVar.
# Dynamo cannot trace a ContextVar, but it guards on this tuple and recompiles when it changes.
_open_blocks: tuple[str, ...] = ()
_open_blocks_lock = threading.Lock()
_registrations = torch.library.Library("pydlx", "FRAGMENT")
_ops_on_cuda: set[str] = set()

if _cpu_error is not None:
    _reason = f" ({_cpu_error})" if not isinstance(_cpu_error, FileNotFoundError) else ""
    warnings.warn(
        f"pydlx: no compiled kernels{_reason}, so the slower PyTorch references are used; "
        "to build them, install a C++ compiler and reinstall pydlx",
        NativeLibraryWarning,
        stacklevel=2,
    )


def build_info() -> dict[str, Any]:
    """Describe this installation.

    Returns:
        A dict with ``version``, ``torch_built`` (the torch release the kernels were compiled against, or None),
        ``native`` (whether the CPU kernels are loaded), ``cuda`` (whether the CUDA library is loaded), ``cuda_archs``
        (the architectures it holds, as ``"9.0"``), ``simd`` (instruction set in use) and ``compiler``.
    """
    return {
        "version": __version__,
        "torch_built": _host.torch_built if _host else None,
        "native": _cpu_error is None,
        "cuda": _cuda_error is None,
        "cuda_archs": _host.cuda_archs.split(";") if _host and _cuda_error is None and _host.cuda_archs else [],
        "simd": _host.simd_level() if _host else None,
        "compiler": _host.compiler if _host else None,
    }


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Choose between the compiled kernels and their PyTorch references for the calls made inside a ``with`` block.

    The choice holds for the current thread or asyncio task only. A backward pass runs on the backend of its forward
    pass. Threads share the code that ``torch.compile`` produces, so while several threads have blocks open, compiled
    code may use the choice of another thread.

    Args:
        name: ``"native"`` or ``"reference"``. ``"native"`` raises RuntimeError where nothing is compiled.
    """
    check_one_of("backend", "name", name, ("native", "reference"))
    if name == "native" and _cpu_error is not None:
        raise RuntimeError(f"backend: the compiled kernels are not available: {_cpu_error}")
    global _open_blocks
    before = _backend.get()
    with _open_blocks_lock:
        _open_blocks = (*_open_blocks, name)
    _backend.set(name)
    try:
        yield
    finally:
        _backend.set(before)
        with _open_blocks_lock:
            place = len(_open_blocks) - 1 - _open_blocks[::-1].index(name)
            _open_blocks = _open_blocks[:place] + _open_blocks[place + 1 :]


def _chosen_backend() -> str:
    return _backend.get()


# Dynamo calls the function once and treats its result as a constant. torch.compiler.assume_constant_result sets the
# same mark, but would import Dynamo.
_chosen_backend._dynamo_marked_constant = True  # type: ignore[attr-defined]


def host_module() -> ModuleType | None:
    """The compiled functions that are no ops, or None where they are not there or `backend` chose the references."""
    return _host if _backend.get() == "native" else None


def use_native(x: torch.Tensor, op: str) -> bool:
    """Whether this op should run a compiled kernel: if ``backend`` allows it and one exists for x's device.

    It avoids ``device.type``, which from cold caches takes as long as a small kernel.
    """
    if _cpu_error is not None or (_open_blocks and _chosen_backend() != "native"):
        return False
    return x.is_cpu or x.is_meta or (x.is_cuda and op in _ops_on_cuda)


def storage_format(x: torch.Tensor) -> torch.memory_format:
    """Channels-last if x is that and not contiguous as well, else contiguous: the kernels' rule for their outputs.

    Under ``torch.vmap``, which has no memory formats, always contiguous.
    """
    if not x.is_contiguous() and not _autograd.is_transformed_by(_autograd.TransformType.Vmap):
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            return torch.channels_last
        if x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d):
            return torch.channels_last_3d
    return torch.contiguous_format


def _has_cuda_kernel(qualified: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(qualified, "CUDA")


def _on_one_device(name: str, fake: Callable[..., Any]) -> Callable[..., Any]:
    """Make a fake kernel refuse tensors on different devices, as the compiled kernels do.

    A direct call that mixes a meta tensor with real ones is dispatched here, and would return uninitialised memory.
    """

    @functools.wraps(fake)
    def checked(*inputs: Any) -> Any:
        devices = {str(x.device) for x in inputs if isinstance(x, torch.Tensor)}
        if len(devices) > 1:
            raise ValueError(f"{name}: all tensors must be on one device, got {' and '.join(sorted(devices))}")
        return fake(*inputs)

    return checked


def register(
    schema: str,
    *,
    reference: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    batching: _autograd.BatchingRule = _autograd.one_by_one,
    autocast_to: torch.dtype | None = None,
) -> Any:
    """Register an op's Python rules with torch, and return a callable that runs it.

    Args:
        schema: The op's line in ``csrc/library.cpp``. If no library is loaded, it defines the op, which then runs
            `reference`.
        reference: Takes the schema's arguments and computes the op with stock PyTorch, differentiably.
        fake: Takes the same arguments and returns empty outputs of the right shapes and dtypes.
        backward: Gradient rule, as ``torch.library.register_autograd`` takes it; None for ops without one.
        setup_context: Saves what `backward` and `jvp` need; required with `backward`.
        jvp: For linear ops, the op applied to the tangents; other ops run `reference` in forward mode.
        batching: Rule for ``torch.vmap``, see `pydlx._autograd`.
        autocast_to: dtype to which autocast casts floating-point inputs; None leaves them as they are.
    """
    name = schema[: schema.index("(")]
    if backward is not None and (setup_context is None or "=" in schema):
        raise ValueError(f"register: backward needs setup_context and a schema without defaults, got {schema!r}")
    qualified = f"pydlx::{name}"
    if _cpu_error is not None:
        torch.library.define(qualified, schema[len(name) :], tags=torch.Tag.pt2_compliant_tag)
        torch.library.impl(qualified, "CompositeImplicitAutograd", reference)
        return getattr(torch.ops.pydlx, name)
    op = getattr(torch.ops.pydlx, name).default
    torch.library.register_fake(qualified, _on_one_device(name, fake))
    if _has_cuda_kernel(qualified):
        _ops_on_cuda.add(name)
    if autocast_to is not None:
        for device in ("cpu", "cuda"):
            torch.library.register_autocast(qualified, device, autocast_to)
    return _autograd.register(
        _registrations,
        name,
        op,
        reference=reference,
        setup_context=setup_context,
        backward=backward,
        jvp=jvp,
        batching=batching,
    )

"""The cosine transform against SciPy's (pocketfft), on a GPU CuPy's, and the real FFT, which costs about the least."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    at_least,
    copying,
    installed,
    on_reference,
    shape_text,
)

SCIPY = "scipy.fft"
CUPY = "cupyx.scipy.fft"
RFFT = "rfft2"

_SHAPES = ((3, 1024, 1024), (3, 1080, 1920), (3, 1021, 1031))
_GPU_SHAPES = (*_SHAPES, (48, 1024, 1024), (3, 4096, 4096))


def cases(setting: Setting) -> Iterator[Case]:
    """The transform and its inverse, float32."""
    targets = (at_least(1, SCIPY),) if setting.device.type == "cpu" else ()
    for shape in _GPU_SHAPES if setting.device.type == "cuda" else _SHAPES:
        for name in ("dctn", "idctn"):
            yield Case(f"{name} {shape_text(shape)}", _build(name, shape, setting), targets)


def _build(name: str, shape: tuple[int, ...], setting: Setting) -> Callable[[], dict[str, Candidate | None]]:
    def build() -> dict[str, Candidate | None]:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device)
        return candidates(name, x, setting.threads)

    return build


def candidates(name: str, x: torch.Tensor, threads: int) -> dict[str, Candidate | None]:
    """``dctn`` or ``idctn`` of x over its last two axes."""
    transform = getattr(ops, name)
    scipy_fft = installed("scipy.fft")
    array = x.cpu().numpy()
    found: dict[str, Candidate | None] = {} if x.is_cpu else {CUPY: _cupy_transform(name, x)}
    return {
        **found,
        NATIVE: lambda: transform(x),
        REFERENCE: on_reference(lambda: transform(x)),
        SCIPY: scipy_fft and (lambda: getattr(scipy_fft, name)(array, axes=(-2, -1), workers=threads)),
        RFFT: lambda: torch.fft.rfft2(x),
        COPY: copying(x),
    }


def _cupy_transform(name: str, x: torch.Tensor) -> Candidate | None:
    """CuPy's transform of the same memory, on torch's stream."""
    cupy, fft = installed("cupy"), installed("cupyx.scipy.fft")
    if cupy is None or fft is None:
        return None
    array = cupy.from_dlpack(x)

    def run() -> object:
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return getattr(fft, name)(array, axes=(-2, -1))

    return run

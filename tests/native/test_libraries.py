"""The compiled libraries: their dependencies, their schemas, and the fallback without them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode

import pydlx
from pydlx import _native

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(pydlx.__file__).parent
LIBRARIES = {"_ops_cpu", "_ops_cuda", "_host"}
MAY_NEED = re.compile(r"lib(torch_cpu|c10|stdc\+\+|gcc_s|m|mvec|c|pthread|rt|dl)\.so|ld-linux")


def built(name: str) -> Path:
    path = PACKAGE / f"{name}.so"
    if not path.exists():
        pytest.skip(f"{name} was not built")
    return path


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, cwd="/"
    )


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_depends_on_little(name):
    """No shared CUDA runtime and no libtorch_python, so the library loads under any torch; _host needs no torch."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    report = subprocess.run(["readelf", "-d", built(name)], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", report)
    assert needed
    assert [entry for entry in needed if not MAY_NEED.match(entry)] == []
    if name == "_host":
        assert not any("torch" in entry or "c10" in entry for entry in needed)
    else:
        undefined = subprocess.run(["nm", "-D", "--undefined-only", built(name)], capture_output=True, text=True)
        assert not re.search(r" U cuda", undefined.stdout)


@pytest.mark.parametrize("name", sorted(LIBRARIES - {"_host"}))
def test_uses_only_the_stable_abi(name):
    audit = shutil.which("torch-abi-audit", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if audit is None:
        pytest.skip("torch-abi-audit is not installed")
    report = subprocess.run([audit, str(built(name)), "--check", "torch"], capture_output=True, text=True)
    assert report.returncode == 0, report.stdout
    assert "unstable=0" in report.stdout
    assert "min-torch=2.10" in report.stdout


def test_kernel_arguments_are_64_bit():
    """The stable ABI takes `int` and `float` arguments without a warning and garbles them."""
    offenders = []
    for path in (ROOT / "csrc").glob("*/*_c*.c*"):
        text = path.read_text()
        for function in re.findall(r"TORCH_BOX\(&?(?:\w+::)*(\w+)\)", text):
            signature = re.search(rf"^[\w:<>, ]+ {function}\(([^)]*)\)", text, re.MULTILINE)
            assert signature, f"{path}: no definition of {function}"
            if re.search(r"\b(int|float|size_t|int32_t)\b", signature[1]):
                offenders.append(f"{path.name}: {function}")
    assert offenders == []


DUMP_SCHEMAS = """
import json, warnings
import torch
warnings.simplefilter("ignore")
import pydlx.ops
schemas = torch._C._jit_get_all_schemas()
print(json.dumps(sorted(str(s) for s in schemas if s.name.startswith("pydlx::"))))
"""


def test_python_and_library_define_the_same_schemas():
    if not pydlx.build_info()["native"]:
        pytest.skip("no compiled library")
    native, python_only = python(DUMP_SCHEMAS), python(DUMP_SCHEMAS, PYDLX_LIBRARY="/nonexistent/library.so")
    assert json.loads(native.stdout) == json.loads(python_only.stdout) != []


def test_without_a_library_the_references_run_and_one_warning_says_so():
    run = python(
        """
import torch, pydlx
x = torch.rand(1, 1, 4, 4, requires_grad=True)
pydlx.ops.soft_pool2d(x, 2).sum().backward()
assert x.grad is not None
assert pydlx.build_info()["native"] is False
try:
    with pydlx.backend("native"):
        pass
except RuntimeError as error:
    print(error)
""",
        PYDLX_LIBRARY="/nonexistent/library.so",
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("NativeLibraryWarning") == 1
    assert "install a C++ compiler and reinstall" in run.stderr
    assert "compiled kernels are not available" in run.stdout


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_instruction_set_can_be_capped(level):
    run = python("import pydlx; print(pydlx.build_info()['simd'])", PYDLX_SIMD=level)
    allowed = {"baseline"} if level == "baseline" else {"baseline", "avx2"}
    assert run.stdout.strip() in allowed


def test_backend_refuses_unknown_names():
    with (
        pytest.raises(ValueError, match="name must be one of 'native', 'reference', got 'fast'"),
        pydlx.backend("fast"),
    ):
        pass


def test_build_info_has_its_keys():
    assert pydlx.build_info().keys() == {
        "version",
        "torch_built",
        "native",
        "cuda",
        "cuda_archs",
        "simd",
        "compiler",
    }


@pytest.mark.parametrize(
    ("schema", "setup"), [("op(Tensor x) -> Tensor", None), ("op(Tensor x, int k=1) -> Tensor", id)]
)
def test_a_gradient_rule_that_cannot_work_is_refused(schema, setup):
    """Otherwise the op would have no gradient, or its rule would lack an argument."""
    with pytest.raises(ValueError, match="backward needs setup_context and a schema without defaults"):
        _native.register(schema, reference=id, fake=id, backward=id, setup_context=setup)


def test_calls_under_a_mode_skip_the_eager_fast_path(kernels):
    """Calls under a mode, which may observe or change them, use the dispatcher; results are the same to the bit."""
    if kernels == "reference":
        pytest.skip("nothing is dispatched")
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64).requires_grad_()
    options = ([2, 2, 2, 2, 0, 0, 1, 1], False, False)
    dispatched = torch.ops.pydlx.soft_pool.default(x, *options)
    pooled = pydlx.ops.soft_pool2d(x, 2)
    assert torch.equal(pooled, dispatched)
    gradients = (torch.autograd.grad(y.square().sum(), x, create_graph=True)[0] for y in (pooled, dispatched))
    assert torch.equal(*gradients)

    class Seen(TorchFunctionMode):
        calls: ClassVar[list] = []

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.calls.append(function)
            return function(*args, **(kwargs or {}))

    with Seen():
        pydlx.ops.soft_pool2d(x, 2)
    assert torch.ops.pydlx.soft_pool.default in Seen.calls
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert pydlx.ops.soft_pool2d(mode.from_tensor(x), 2).shape == (2, 3, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = torch.ones(4, 4, dtype=torch.bfloat16, requires_grad=True)
        assert sys.modules["pydlx.ops.dct"]._op(half, 2, False, [0, 1], 0, False).dtype == torch.float32
    with torch.inference_mode():
        assert pydlx.ops.soft_pool2d(x, 2).is_inference()

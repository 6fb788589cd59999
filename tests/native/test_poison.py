"""With PYDLX_POISON=1, as in these tests, memory that kernels get has no values that could pass for a result."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import torch
from cuda_on_cpu.build import FLAGS, ROOT
from torch.utils import cpp_extension

SOURCE = """
#include "common/tensor_utils.h"
#include "common/workspace.h"

namespace {
using pydlx::Tensor;

Tensor output(const Tensor& like) { return pydlx::uninitialised(like, like.sizes()); }

Tensor workspace(const Tensor& like) {
  Tensor copy = torch::stable::clone(like);
  const int64_t bytes = like.numel() * static_cast<int64_t>(like.element_size());
  const pydlx::Workspace space(bytes);
  void* const memory = space.as<void>();
  std::memcpy(copy.mutable_data_ptr(), memory, bytes);
  std::memset(memory, 0, bytes);
  return copy;
}
}  // namespace

STABLE_TORCH_LIBRARY(pydlx_memory, m) {
  m.def("output(Tensor like) -> Tensor");
  m.def("workspace(Tensor like) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pydlx_memory, CPU, m) {
  m.impl("output", TORCH_BOX(&output));
  m.impl("workspace", TORCH_BOX(&workspace));
}
"""


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A library of ops that return memory before anything was written to it."""
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler.split()[0]) is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("memory")
    source, library = folder / "memory.cpp", folder / "memory.so"
    source.write_text(SOURCE)
    torch_flags = [f"-I{ROOT / 'csrc'}"]
    torch_flags += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    torch_flags += [*(f"-L{path}" for path in cpp_extension.library_paths()), "-ltorch_cpu"]
    subprocess.run([*compiler.split(), *FLAGS, "-O0", "-shared", source, "-o", library, *torch_flags], check=True)
    torch.ops.load_library(library)
    return torch.ops.pydlx_memory


@pytest.mark.parametrize("kind", ["output", "workspace"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_fresh_memory_is_poisoned(memory, kind, dtype):
    for size in (1, 7, 5000, 7):
        fresh = getattr(memory, kind)(torch.zeros(size, 3, dtype=dtype))
        assert (fresh == -1 if dtype is torch.int64 else fresh.isnan()).all()
    assert getattr(memory, kind)(torch.zeros(0, 3, dtype=dtype)).shape == (0, 3)

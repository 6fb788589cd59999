"""`pydlx.backend`: the scope of the choice, and its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pydlx
from pydlx import ops


@pytest.fixture(autouse=True)
def built(kernels: str) -> None:
    if kernels != "native" or not pydlx.build_info()["native"]:
        pytest.skip("needs the compiled kernels")


class Calls(TorchDispatchMode):
    """Records the names of pydlx's ops that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "pydlx":
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


def calls_of(run: Callable[[], object]) -> list[str]:
    with Calls() as calls:
        run()
    return calls.names


def runs_native() -> bool:
    return calls_of(lambda: ops.dctn(torch.ones(2, 2))) == ["dct"]


def test_overlapping_threads_neither_see_nor_leave_each_others_choice():
    steps = {name: threading.Event() for name in ("first in", "second in", "first out", "second out")}
    seen: dict[str, bool] = {}

    def first():
        with pydlx.backend("reference"):
            steps["first in"].set()
            steps["second in"].wait(10)
            seen["first inside"] = runs_native()
        seen["first behind"] = runs_native()
        steps["first out"].set()

    def second():
        steps["first in"].wait(10)
        seen["second before"] = runs_native()
        with pydlx.backend("reference"):
            steps["second in"].set()
            steps["first out"].wait(10)
            seen["second inside"] = runs_native()
            with pydlx.backend("native"):
                seen["second nested"] = runs_native()
        seen["second behind"] = runs_native()

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    inside = {"first inside", "second inside"}
    assert seen == {place: place not in inside for place in seen}
    assert len(seen) == 6
    assert runs_native()


def test_asyncio_tasks_have_a_choice_each():
    async def task(name: str) -> bool:
        with pydlx.backend(name):
            await asyncio.sleep(0)
            return runs_native()

    async def both() -> list[bool]:
        return list(await asyncio.gather(task("reference"), task("native"), task("reference")))

    assert asyncio.run(both()) == [False, True, False]


def test_the_choice_ends_with_an_exception():
    with pytest.raises(KeyError), pydlx.backend("reference"):
        raise KeyError
    assert runs_native()


@pytest.mark.parametrize("recorded_on", ["native", "reference"])
def test_a_backward_pass_runs_on_what_its_forward_ran_on(recorded_on):
    x = torch.ones(1, 1, 4, requires_grad=True)
    with pydlx.backend(recorded_on):
        y = ops.soft_pool1d(x, 2).sum()
    other = "native" if recorded_on == "reference" else "reference"
    with pydlx.backend(other):
        names = calls_of(y.backward)
    assert names == (["_soft_pool_backward"] if recorded_on == "native" else [])


def test_the_compiler_traces_the_choice_and_follows_it():
    torch.compiler.reset()
    graphs: list[str] = []

    def keep_graph(module, inputs):
        graphs.append(str(module.graph))
        return module.forward

    run = torch.compile(lambda x: ops.dctn(x) * 2, backend=keep_graph, fullgraph=True)
    x = torch.arange(6.0).view(2, 3)
    expected = ops.dctn(x) * 2
    for name in ("native", "reference", "native"):
        with pydlx.backend(name):
            torch.testing.assert_close(run(x), expected)
    torch.testing.assert_close(run(x), expected)
    assert ["pydlx" in graph for graph in graphs[:2]] == [True, False]

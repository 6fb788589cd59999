"""Without the extras' packages: what does not need them works, and the rest names its extra in one line."""

import json
import subprocess
import sys

import pytest

from pydlx.training import RECIPES

OPTIONAL = (
    "PIL",
    "cv2",
    "hotcoco",
    "imagecodecs",
    "matplotlib",
    "msgspec",
    "netpbmfile",
    "pycocotools",
    "pytorch_msssim",
    "scipy",
    "skimage",
    "tifffile",
)

FILES = ["--source", "a.png", "--target", "a.png", "--mask", "a.png", "--out", "b.png"]
COMMANDS = {
    "eval keypoints a.json a.json": 'reading COCO files needs msgspec: pip install "pydlx[metrics]"',
    "eval boxes a.json a.json --skip-bad": 'reading COCO files needs msgspec: pip install "pydlx[metrics]"',
    "eval keypoints a.json a.json --plot a.svg": 'drawing needs matplotlib: pip install "pydlx[plot]"',
    "eval segmentation x y --classes 2 --skip-bad": 'reading label maps needs Pillow: pip install "pydlx[images]"',
    "eval images a.png a.png --skip-bad": 'reading and writing pictures needs Pillow: pip install "pydlx[images]"',
    "eval images a.tif a.tif": 'reading TIFF needs tifffile: pip install "pydlx[images]"',
    "eval images a.ppm a.ppm": 'reading PPM and PAM needs netpbmfile: pip install "pydlx[images]"',
    "eval images a.jp2 a.jp2": 'handling 16 bits or colour profiles needs imagecodecs: pip install "pydlx[images]"',
    f"blend {' '.join(FILES)}": 'reading and writing pictures needs Pillow: pip install "pydlx[images]"',
    "bench import --quick --plot a.svg": 'drawing needs matplotlib: pip install "pydlx[plot]"',
}

SETUP = """
import contextlib, importlib.abc, io, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

if "torchmetrics" not in MISSING:
    import torchmetrics  # first, since it takes for installed what pip knows of

    for name in list(sys.modules):
        if name.partition(".")[0] in MISSING:
            del sys.modules[name]
sys.meta_path.insert(0, Blocker())
"""

RUN_COMMANDS = """
from pydlx.cli import main

def run(command):
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(command.split())
    return code, error.getvalue()

print(json.dumps({command: run(command) for command in json.load(sys.stdin)}))
"""

USE_PACKAGE = """
import numpy as np, torch
import pydlx
from pydlx.blending import *
from pydlx.data import *
from pydlx.losses import *
from pydlx.metrics import *
from pydlx.nn import *
from pydlx.ops import *
from pydlx.visualize import *

assert blend(np.ones((4, 4)), np.zeros((6, 6)), np.ones((4, 4)), (1, 1)).shape == (6, 6)
metric = ConfusionMetrics(2)
metric.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
assert metric.compute()["mean_iou"] == 1

from pydlx.benchmarks.case import Setting
from pydlx.benchmarks.metrics.keypoint_ap import cases
assert ["JSON" in case.label for case in cases(Setting(torch.device("cpu"), 1, False))] == [False]

def message_of(call):
    try:
        call()
    except ImportError as error:
        return str(error)

print(json.dumps([
    message_of(lambda: evaluate_keypoints([], [])),
    message_of(lambda: evaluate_boxes([], [])),
    message_of(lambda: plot_confusion_matrix(torch.eye(2))),
    message_of(lambda: multi_person_ap([torch.ones(1, 1)], 0.5, matching="hungarian")),
    message_of(lambda: write_image("a.png", np.zeros((3, 4), np.uint8))),
    message_of(lambda: read_label_map("a.png")),
]))
"""


def run_without_extras(code, folder, text="", missing=OPTIONAL):
    run = subprocess.run(
        [sys.executable, "-c", f"MISSING = {missing}\n{SETUP}{code}"],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def files(tmp_path):
    """Files of the kinds that the commands take; their contents are never read."""
    contents = {"tif": b"II*\0", "ppm": b"P6\n", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n"}
    for suffix in ("json", "png", "tif", "ppm", "jp2"):
        (tmp_path / f"a.{suffix}").write_bytes(contents.get(suffix, b"{}"))
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    return tmp_path


def test_commands_name_the_extra_in_one_line_and_exit_with_2(files):
    results = run_without_extras(RUN_COMMANDS, files, json.dumps(list(COMMANDS)))
    expected = {command: [2, f"pydlx {_called(command)}: {message}\n"] for command, message in COMMANDS.items()}
    assert results == expected


def _called(command):
    """The command, and of eval the kind."""
    return " ".join(command.split()[: 2 if command.startswith("eval") else 1])


def test_every_recipe_names_the_extra_that_it_trains_with(files):
    commands = [f"train {recipe} --options" for recipe in RECIPES]
    results = run_without_extras(RUN_COMMANDS, files, json.dumps(commands), missing=("lightning",))
    message = 'pydlx train: training needs lightning: pip install "pydlx[train]"\n'
    assert results == {command: [2, message] for command in commands}


def test_commands_that_need_none_run(files):
    missing = (*OPTIONAL, "torchmetrics")
    assert run_without_extras(RUN_COMMANDS, files, json.dumps(["info", "bench --list"]), missing=missing) == {
        "info": [0, ""],
        "bench --list": [0, ""],
    }


def test_the_package_is_there_and_functions_name_the_extra(files):
    assert run_without_extras(USE_PACKAGE, files) == [
        'reading COCO files needs msgspec: pip install "pydlx[metrics]"',
        'reading COCO files needs msgspec: pip install "pydlx[metrics]"',
        'drawing needs matplotlib: pip install "pydlx[plot]"',
        'matching="hungarian" needs scipy: pip install "pydlx[metrics]"',
        'reading and writing pictures needs Pillow: pip install "pydlx[images]"',
        'reading label maps needs Pillow: pip install "pydlx[images]"',
    ]


IMPORT_METRICS = """
import pydlx
try:
    import pydlx.metrics
except ImportError as error:
    print(json.dumps([str(error), pydlx.ops.ssim.__name__]))
"""


def test_metrics_stand_on_torchmetrics(files):
    message = 'pydlx.metrics needs torchmetrics: pip install "pydlx[metrics]"'
    assert run_without_extras(IMPORT_METRICS, files, missing=("torchmetrics",)) == [message, "ssim"]
    command = "eval squad a.json a.json"
    results = run_without_extras(RUN_COMMANDS, files, json.dumps([command]), missing=("torchmetrics",))
    assert results == {command: [2, f"pydlx eval squad: {message}\n"]}


def test_other_import_errors_are_not_disguised():
    from pydlx._optional import MissingPackageError, needed_for

    with pytest.raises(ModuleNotFoundError) as failure, needed_for("this", extra="images"):
        import pydlx.no_such_module  # noqa: F401
    assert not isinstance(failure.value, MissingPackageError)
    with pytest.raises(ImportError) as failure, needed_for("this", extra="images"):
        from json import no_such_name  # noqa: F401
    assert not isinstance(failure.value, MissingPackageError)

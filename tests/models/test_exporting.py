"""Exported models give the model's results, also at other sizes, and a failed export leaves nothing behind."""

from __future__ import annotations

import copy

import pytest
import torch

import pydlx
from pydlx.cli import main
from pydlx.models import exporting, save_model
from pydlx.models.exporting import export_model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def network(**options):
    """An FCN whose scores are not zero."""
    torch.manual_seed(0)
    model = pydlx.create_model("fcn8s", num_classes=3, backbone="slim_vgg", **options).eval()
    for name, parameter in model.named_parameters():
        if "score" in name and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.skipif(torch.__version__ < "2.13", reason="torch 2.10 does not export convolutions of free sizes")
@pytest.mark.parametrize(("format", "suffix"), [("onnx", "onnx"), ("torch", "pt2")])
def test_an_fcn_is_exported_for_any_size(tmp_path, format, suffix):
    model, path = network(), tmp_path / f"fcn.{suffix}"
    assert export_model(model, path, (64, 80), format=format, any_size=True)["largest_difference"] < 1e-4
    image = torch.randn(1, 3, 70, 97, generator=torch.Generator().manual_seed(1))
    if format == "onnx":
        (found,) = onnxruntime.InferenceSession(path).run(None, {"image": image.numpy()})
        found = torch.from_numpy(found)
    else:
        found = torch.export.load(path).module()(image)
    torch.testing.assert_close(found, model(image), rtol=0, atol=1e-4)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def corner_network(std=0.5):
    torch.manual_seed(0)
    model = pydlx.create_model("cornernet_squeeze", num_classes=4, width=0.125, stacks=1).eval()
    for name, parameter in model.named_parameters():
        if "heat" in name and parameter.dim() == 4:  # a new network's scores are nearly equal everywhere
            torch.nn.init.normal_(parameter, std=std)
    return model


def test_cornernet_is_exported_with_its_decode(tmp_path):
    report = export_model(corner_network(), tmp_path / "corner.onnx", (127, 127))
    assert report["largest_difference"] < 1e-4
    boxes, scores, labels = onnxruntime.InferenceSession(tmp_path / "corner.onnx").run(
        None, {"image": torch.zeros(1, 3, 127, 127).numpy()}
    )
    assert boxes.shape[-1] == 4
    assert scores.shape == labels.shape == boxes.shape[:2]
    assert (scores >= 0).any()


def rounding_otherwise(monkeypatch, model, change=0.0):
    """Makes the exported program differ: by rounding (it runs in float64), or by another input image."""
    monkeypatch.setattr(exporting, "_write", lambda program, path, *_: path.touch())
    doubled = exporting.DecodedCorners(copy.deepcopy(model).double())
    monkeypatch.setattr(exporting, "_run", lambda path, inputs, format: doubled(inputs["image"].double() + change))


def test_an_exported_cornernet_with_near_ties_cannot_be_compared(tmp_path, monkeypatch, capsys):
    """For an untrained network rounding decides which corners are paired."""
    model, path = corner_network(std=1e-7), tmp_path / "corner.pt2"
    rounding_otherwise(monkeypatch, model)
    with pytest.raises(ValueError, match=r"^export_model: model must tell corners .*; train it, or give check=False"):
        export_model(model, path, (127, 127), format="torch")
    assert not path.exists()
    assert export_model(model, path, (127, 127), format="torch", check=False) == {}
    save_model(model, tmp_path / "model.pt")
    words = [
        "export",
        "--checkpoint",
        str(tmp_path / "model.pt"),
        "--size",
        "127,127",
        "--out",
        str(tmp_path / "other.pt2"),
    ]
    assert main(words) == 2
    assert main([*words, "--no-check"]) == 0
    assert "other.pt2; not compared" in capsys.readouterr().out
    assert path.exists() and (tmp_path / "other.pt2").exists()


def test_an_exported_cornernet_with_distinct_scores_is_compared(tmp_path, monkeypatch):
    model, path = corner_network(), tmp_path / "corner.pt2"
    rounding_otherwise(monkeypatch, model)
    assert 0 < export_model(model, path, (127, 127), format="torch")["largest_difference"] < 1e-4
    rounding_otherwise(monkeypatch, model, change=0.1)
    with pytest.raises(ValueError, match=r"corner\.pt2' would give other results than the model, by"):
        export_model(model, path, (127, 127), format="torch")


@pytest.mark.slow
@pytest.mark.parametrize(("make", "outputs"), [(network, 1), (corner_network, 3)])
def test_models_are_compiled_ahead_of_time(tmp_path, make, outputs):
    path = tmp_path / "model.pt2"
    assert export_model(make(), path, (127, 127), format="aoti")["largest_difference"] < 1e-4
    found = torch._inductor.aoti_load_package(str(path))(torch.zeros(1, 3, 127, 127))
    assert isinstance(found, torch.Tensor) if outputs == 1 else len(found) == outputs


def test_impossible_exports_are_refused(tmp_path):
    model = network()
    with pytest.raises(ValueError, match=r"path must end in \.onnx for format 'onnx', got '.*fcn\.pt2'"):
        export_model(model, tmp_path / "fcn.pt2", (32, 32))
    with pytest.raises(ValueError, match="model must be in evaluation mode"):
        export_model(model.train(), tmp_path / "fcn.onnx", (32, 32))
    with pytest.raises(ValueError, match=r"size must be two whole numbers \(height, width\), got \(0, 3\)"):
        export_model(model.eval(), tmp_path / "fcn.onnx", (0, 3))
    assert not list(tmp_path.iterdir())

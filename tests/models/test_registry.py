"""Models are built by name, and checkpoints record the model's name and options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pydlx
from pydlx.models import load_model, register_model, save_model
from pydlx.models.registry import _builders


@pytest.fixture(autouse=True)
def toy():
    @register_model("toy")
    def build(*, width: int = 4, kind: str = "a") -> nn.Module:
        return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))

    yield
    del _builders["toy"]


def test_names_match_patterns():
    assert "toy" in pydlx.list_models()
    assert pydlx.list_models("to*") == ["toy"]
    assert pydlx.list_models("nothing*") == []


def test_a_model_knows_its_name_and_all_options():
    model = pydlx.create_model("toy", width=6)
    assert (model.model_name, model.model_options) == ("toy", {"width": 6, "kind": "a"})


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="name must be a known model, got 'toys'; did you mean 'toy'"):
        pydlx.create_model("toys")
    with pytest.raises(TypeError, match="toy has no option 'wdth', it takes width, kind"):
        pydlx.create_model("toy", wdth=3)
    with pytest.raises(ValueError, match="name must be new, got 'toy'"):
        register_model("toy")(nn.Identity)


def test_files_bring_models_back(tmp_path):
    model = pydlx.create_model("toy", width=6)
    model.train()(torch.randn(8, 3))
    save_model(model, tmp_path / "toy.pt")
    loaded = load_model(tmp_path / "toy.pt")
    assert (loaded.model_name, loaded.model_options) == ("toy", {"width": 6, "kind": "a"})
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert load_model(tmp_path / "toy.pt", kind="b").model_options["kind"] == "b"


def test_files_bring_back_what_accompanies_a_model(tmp_path):
    model = pydlx.create_model("toy")
    model.companion = {"vocabulary": ["a", "石"], "tokenizer": "words"}
    save_model(model, tmp_path / "toy.pt")
    assert load_model(tmp_path / "toy.pt").companion == model.companion
    model.companion = None
    save_model(model, tmp_path / "toy.pt")
    assert not hasattr(load_model(tmp_path / "toy.pt"), "companion")


def test_numbers_of_numpy_come_back(tmp_path):
    save_model(pydlx.create_model("toy", width=np.int64(6)), tmp_path / "toy.pt")
    assert type(load_model(tmp_path / "toy.pt").model_options["width"]) is int


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "toy.pt"
    with pytest.raises(FileNotFoundError, match=r"no such file: .*toy\.pt"):
        load_model(path)
    with pytest.raises(ValueError, match="model must come from create_model, got Linear"):
        save_model(nn.Linear(2, 2), path)
    assert not path.exists()
    save_model(pydlx.create_model("toy", width=6), path)
    with pytest.raises(ValueError, match=r"do not fit toy: 0\.bias must have shape \(7,\), got \(6,\) \(and 5 more\)"):
        load_model(path, width=7)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "model": "another"}, path)
    with pytest.raises(ValueError, match=r"must hold a model of pydlx\.list_models\(\), got 'another'"):
        load_model(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ValueError, match=r"must hold a model .*, got \['epoch'\]"):
        load_model(path)
    del content["state_dict"]["0.weight"]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"do not fit toy: 0\.weight is missing"):
        load_model(path)
    path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(OSError, match=r"text\.pt' is no checkpoint, or holds more than weights and numbers$"):
        load_model(tmp_path / "text.pt")
    with pytest.raises(OSError, match=r"cannot read .*toy\.pt' as a checkpoint"):
        load_model(path)

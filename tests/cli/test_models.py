"""``pydlx models`` lists what create_model builds."""

from __future__ import annotations

import json

import pytest

import pydlx
from pydlx.cli import main


def test_options_and_defaults_are_listed(capsys):
    assert main(["models", "bidaf"]) == 0
    name, options = capsys.readouterr().out.splitlines()
    assert name == "bidaf"
    assert options.startswith("    vocabulary_size=..., word_dim=100, tune_partial=0, ")
    assert "end_input='code'" in options


def test_every_model_is_in_the_json(capsys):
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == pydlx.list_models()
    assert found["bidaf"]["vocabulary_size"] is None
    assert found["fcn8s"]["num_classes"] == 21


def test_no_model_of_that_name(capsys):
    assert main(["models", "bert*"]) == 2
    assert capsys.readouterr().err == "pydlx models: no model is called 'bert*'\n"
    assert main(["models", "rnet"]) == 2
    assert capsys.readouterr().err == "pydlx models: no model is called 'rnet'; did you mean 'r_net'?\n"


def test_what_must_be_given_is_said():
    with pytest.raises(TypeError, match="create_model: r_net must be given vocabulary_size"):
        pydlx.create_model("r_net", hidden=8)

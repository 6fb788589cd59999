"""``pydlx info``."""

import json

import pydlx
from pydlx.cli import main


def test_text_names_every_fact(capsys):
    assert main(["info"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts.keys() >= pydlx.build_info().keys()
    assert facts["version"] == pydlx.__version__
    assert facts["native"] == ("yes" if pydlx.build_info()["native"] else "no")


def test_json_holds_build_info(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.items() >= pydlx.build_info().items()

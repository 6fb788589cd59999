"""Readers are compiled, and exported to run without this package."""

from __future__ import annotations

import re

import pytest
import torch
from reader_checks import states, tokens
from small_readers import PASSAGES, QUESTIONS, reader

from pydlx.models.exporting import export_model
from pydlx.models.readers.pointers import SpanScoring


def test_qanet_compiles_as_one_graph():
    model = reader("qanet", blocks=1, characters=False, features=False)
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    compiled = torch.compile(model.eval(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(passage, question).start, model(passage, question).start)


def test_span_scores_compile_as_one_graph():
    part = SpanScoring(3, 5, 4).double()
    h, mask = states(PASSAGES, 3)
    compiled = torch.compile(part, fullgraph=True, backend="eager")
    found, wanted = (run(h.requires_grad_(), mask) for run in (compiled, part))
    torch.testing.assert_close(found, wanted)
    found, wanted = (torch.autograd.grad(y[:, 0, 0].sum(), [h, *part.parameters()]) for y in (found, wanted))
    torch.testing.assert_close(found, wanted)


EXPORTED = [
    pytest.param("bidaf", {}, False, id="bidaf"),
    pytest.param("bidaf", {}, True, marks=pytest.mark.slow, id="bidaf-characters"),
    pytest.param("qanet", {"blocks": 1}, True, marks=pytest.mark.slow, id="qanet"),
    pytest.param("fusionnet", {}, True, marks=pytest.mark.slow, id="fusionnet"),
    pytest.param("r_net", {"attention": "static"}, True, marks=pytest.mark.slow, id="r_net"),
    pytest.param("rasor", {}, True, marks=pytest.mark.slow, id="rasor"),
    pytest.param("dcn", {}, True, marks=pytest.mark.slow, id="dcn"),
    pytest.param("fastqa", {"beam": 2}, True, marks=pytest.mark.slow, id="fastqa"),
    pytest.param("drqa", {}, True, marks=pytest.mark.slow, id="drqa"),
    pytest.param("mpcm", {}, True, marks=pytest.mark.slow, id="mpcm"),
    pytest.param("mnemonic_reader", {}, True, marks=pytest.mark.slow, id="mnemonic_reader"),
]


@pytest.mark.parametrize(("name", "options", "everything"), EXPORTED)
def test_readers_are_exported_for_texts_of_any_length(tmp_path, name, options, everything):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    given = {"characters": everything, "features": everything, "no_answer": everything, "spread": 0.1, **options}
    model = reader(name, **given).float().eval()
    path = tmp_path / "reader.onnx"
    assert export_model(model, path, (9, 5), any_size=True)["largest_difference"] < 1e-5
    session = onnxruntime.InferenceSession(path)
    assert [output.name for output in session.get_outputs()] == [
        *{"rasor": ["spans"], "fastqa": ["start", "given", "end"]}.get(name, ["start", "end"]),
        *["null"] * everything,
    ]
    for lengths, others in ((PASSAGES, QUESTIONS), ((1,), (1,)), ((30, 2, 5, 4), (3, 4, 9, 1))):
        text = tokens(lengths), tokens(others, seed=1)
        text = tuple(part._replace(features=part.features.float()) for part in text)
        given = {
            f"{side}_{kind}": getattr(part, kind)
            for side, part in zip(("passage", "question"), text, strict=True)
            for kind in ("words", "characters", "features")
        }
        found = session.run(None, {i.name: given[i.name].numpy() for i in session.get_inputs()})
        for a, b in zip(found, model(*text), strict=False):
            torch.testing.assert_close(torch.from_numpy(a), b, rtol=0, atol=1e-5)


def test_readers_that_cannot_be_exported_say_so(tmp_path):
    for name, options, format, sentence in (
        ("match_lstm", {}, "onnx", "export_model: model must not be match_lstm, fastqa_ext or r_net with attention='d"),
        ("r_net", {}, "torch", "which loop over tokens; got RNet with layer AttentionRNN"),
        ("fastqa_ext", {}, "onnx", "which loop over tokens; got FastQAExt with layer RunningFusion"),
        ("bidaf", {}, "torch", "any_size must be False with format 'torch' for BiDAF"),
    ):
        path = tmp_path / f"reader.{'onnx' if format == 'onnx' else 'pt2'}"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            export_model(reader(name, **options).eval(), path, (9, 5), format=format, any_size=True)
    assert not list(tmp_path.iterdir())

"""Export models to files that run without this package: ONNX, ``torch.export`` programs, AOTInductor packages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_one_of, check_path, whole_pair
from pydlx._optional import needed_for
from pydlx.files import replacing
from pydlx.models.detection import CornerNet
from pydlx.models.readers import Reader
from pydlx.models.readers.program import ReaderProgram
from pydlx.models.text.text_encoder import TextEncoder
from pydlx.ops import decode_corners

FORMATS = {"onnx": ".onnx", "torch": ".pt2", "aoti": ".pt2"}
_TOLERANCE = 1e-4  # largest allowed difference between the exported program's results and the model's
_ROUNDING = 1e-5  # size of a disturbance that stands for rounding


class DecodedCorners(nn.Module):
    """CornerNet followed by its decoding: from an image to boxes, scores and labels.

    The image is (N, 3, H, W) as ``normalize_image`` returns it. Boxes are (N, M, 4) in heat-map pixels, by descending
    score; rejected boxes have score -1.
    """

    def __init__(self, model: CornerNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, M, 4), scores (N, M) and labels (N, M)."""
        heat_tl, heat_br, *others = self.model(image)[-1]
        boxes, scores, _, labels = decode_corners(heat_tl.sigmoid(), heat_br.sigmoid(), *others)
        return boxes, scores, labels

    def depends_on_rounding(self, image: Tensor) -> bool:
        """Return whether changing the heat maps by up to 1e-5, as rounding may, pairs other corners."""
        heat_tl, heat_br, *others = self.model(image)[-1]
        draw = torch.Generator(image.device).manual_seed(0)
        heat = [x.sigmoid() + _ROUNDING * (2 * torch.rand(x.shape, generator=draw) - 1) for x in (heat_tl, heat_br)]
        boxes, scores, _, labels = decode_corners(*heat, *others)
        return not _difference(*_decided_rows(self(image), (boxes, scores, labels))) <= _TOLERANCE


class _Program(NamedTuple):
    """What is exported: a model, an example of each input, and which dimensions of the inputs may vary."""

    model: nn.Module
    inputs: dict[str, Tensor]
    dynamic_shapes: Any
    outputs: list[str] | None = None  # names, where they are known


def export_model(
    model: nn.Module,
    path: str | os.PathLike[str],
    size: tuple[int, int],
    *,
    format: str = "onnx",
    any_size: bool = False,
    check: bool = True,
) -> dict[str, float]:
    """Export a model to a file that runs without this package; the file is written as a whole or not at all.

    Args:
        model: From ``load_model``, in evaluation mode, on the CPU. A segmentation network returns scores (N, C, H, W).
            CornerNet is exported with its decoding, see `DecodedCorners`; a reader with one input for each part of the
            texts, see `ReaderProgram`. Readers that loop over tokens (Match-LSTM, R-Net with dynamic attention,
            FastQAExt) are refused, and so are entity taggers and relation models.
        path: One file, with the suffix ``.onnx`` or ``.pt2``, which holds the weights too.
        size: Height and width of the images in pixels; or numbers of tokens of the passage and of the question.
        format: ``"onnx"``; ``"torch"``, an exported program for ``torch.export.load``; or ``"aoti"``, compiled for this
            machine, for ``torch._inductor.aoti_load_package``.
        any_size: Whether height and width may vary from call to call. For a reader: whether the number of texts, of
            tokens and of characters per word may vary; otherwise they are 1, `size` and 16. Readers with recurrent
            layers support this in ONNX only.
        check: Run the exported program on a random image or text, and compare its results with the model's. CornerNet's
            can be compared only if its corner scores differ by more than rounding, which an untrained model's may not.

    Returns:
        With `check`, ``largest_difference`` between both over all floating-point outputs; otherwise an empty dict.

    Raises:
        ValueError: If an option is out of range, or the exported program gives other results than the model.
        ImportError: If the packages for ONNX are missing.
    """
    name = "export_model"
    check_path(name, "path", path)
    check_one_of(name, "format", format, tuple(FORMATS))
    check_flag(name, "any_size", any_size)
    meaning = "(passage, question)" if isinstance(model, Reader) else "(height, width)"
    size = whole_pair(name, "size", size, meaning, 1)
    if Path(path).suffix != FORMATS[format]:
        raise ValueError(f"{name}: path must end in {FORMATS[format]} for format {format!r}, got '{path}'")
    if any(isinstance(part, TextEncoder) for part in model.modules()):
        raise ValueError(
            f"{name}: model must read images or answer questions to be exported, got {type(model).__name__}"
        )
    if model.training:
        raise ValueError(f"{name}: model must be in evaluation mode, call model.eval()")
    if isinstance(model, Reader):
        program = _reader_program(model, size, format, any_size)
    else:
        program = _image_program(model, size, any_size)
    with replacing(path) as temporary, torch.no_grad():
        _write(program, temporary, format)
        if not check:
            return {}
        inputs = tuple(program.inputs.values())
        expected, found = _as_tuple(program.model(*inputs)), _run(temporary, program.inputs, format)
        if isinstance(program.model, DecodedCorners):
            expected, found = _decided_rows(expected, found)
        difference = _difference(expected, found)
        if not difference <= _TOLERANCE:
            raise ValueError(f"{name}: {_why_refused(program, path, difference)}")
    return {"largest_difference": difference}


def _image_program(model: nn.Module, size: tuple[int, int], any_size: bool) -> _Program:
    whole_model = DecodedCorners(model).eval() if isinstance(model, CornerNet) else model
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    free = ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},) if any_size else None
    outputs = ["boxes", "scores", "labels"] if isinstance(model, CornerNet) else None
    return _Program(whole_model, {"image": image}, free, outputs)


def _reader_program(model: Reader, size: tuple[int, int], format: str, any_size: bool) -> _Program:
    reader = ReaderProgram(model).eval()
    if reader.loop is not None:
        raise ValueError(
            "export_model: model must not be match_lstm, fastqa_ext or r_net with attention='dynamic', which loop over "
            f"tokens; got {type(model).__name__} with layer {reader.loop}"
        )
    if any_size and format != "onnx" and reader.has_rnn:
        raise ValueError(
            f"export_model: any_size must be False with format {format!r} for {type(model).__name__}: PyTorch exports "
            "recurrent layers for one length"
        )
    if model.embed.pretrained is not None:
        raise ValueError(
            "export_model: model must read numbers of words to be exported, not wordpieces; "
            f"got {type(model).__name__} with a pretrained encoder"
        )
    inputs = reader.example(*size, batch=2 if any_size else 1)
    free = [
        dict.fromkeys(range(2 if name.endswith("features") else x.dim()), torch.export.Dim.AUTO)
        for name, x in zip(reader.inputs, inputs, strict=True)
    ]
    named = dict(zip(reader.inputs, inputs, strict=True))
    return _Program(reader, named, (tuple(free),) if any_size else None, reader.outputs)


def _write(program: _Program, path: Path, format: str) -> None:
    model, inputs, free, outputs = program
    if format == "onnx":
        with needed_for("export to ONNX", extra="export"):
            import onnxscript  # noqa: F401
        torch.onnx.export(
            model,
            tuple(inputs.values()),
            path,
            dynamo=True,
            dynamic_shapes=free,
            external_data=False,
            input_names=list(inputs),
            output_names=outputs,
            verbose=False,
        )
        return
    exported = torch.export.export(model, tuple(inputs.values()), dynamic_shapes=free)
    if format == "torch":
        torch.export.save(exported, path)
    else:
        torch._inductor.aoti_compile_and_package(exported, package_path=str(path))


def _run(path: Path, inputs: dict[str, Tensor], format: str) -> tuple[Tensor, ...]:
    if format == "onnx":
        with needed_for("checking ONNX", extra="export"):
            import onnxruntime
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        return tuple(torch.from_numpy(y) for y in session.run(None, given))
    if format == "torch":
        return _as_tuple(torch.export.load(path).module()(*inputs.values()))
    return _as_tuple(torch._inductor.aoti_load_package(str(path))(*inputs.values()))


def _why_refused(program: _Program, path: Any, difference: float) -> str:
    if isinstance(program.model, DecodedCorners) and program.model.depends_on_rounding(program.inputs["image"]):
        return (
            "model must tell corners apart by more than rounding for what is written to be compared, got scores so "
            f"alike that a change by {_ROUNDING:.0e} pairs others, as in an untrained one; train it, or give "
            "check=False (--no-check)"
        )
    return f"'{path}' would give other results than the model, by {difference:.1e}"


def _decided_rows(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """Keep all scores, but only those boxes and labels whose rank does not depend on rounding."""
    scores = expected[1]
    apart = (scores[:, :-1] - scores[:, 1:]) > _TOLERANCE
    edge = torch.ones_like(apart[:, :1])
    decided = torch.cat([edge, apart], 1) & torch.cat([apart, edge], 1) & (scores >= 0)
    return tuple((y[1], y[0][decided], y[2][decided]) for y in (expected, found))


def _as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _difference(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """Return the largest difference of floating-point outputs; infinity if shapes or integer outputs differ."""
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape or (not a.is_floating_point() and not torch.equal(a, b)):
            return float("inf")
        if a.is_floating_point() and a.numel():
            # Test equality first: inf - inf would be NaN.
            apart = torch.where(a == b, 0.0, (a.double() - b.double()).abs())
            worst = max(worst, float(apart.max()))
    return worst

"""Mutants that do what the source does, so that no test can see them: file, line, changed line, and why."""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "pydlx/blending/poisson.py",
        "values = correction.add_(guide) if share == 1 else torch.add(guide, correction, alpha=share)",
        "values = correction.add_(guide) if share == 2 else torch.add(guide, correction, alpha=share)",
    ): "the same sum, which a share of 1 may write over the correction",
    (
        "pydlx/blending/masks.py",
        'raise ValueError(f"{wanted} {tuple(planes.shape[-2:])}")',
        'raise ValueError(f"{wanted} {tuple(planes.shape[2:])}")',
    ): "planes have four axes",
    (
        "pydlx/figures.py",
        "formats = new_figure(1, 1).canvas.get_supported_filetypes()",
        "formats = new_figure(1, 2).canvas.get_supported_filetypes()",
    ): "the formats do not depend on the size",
    (
        "pydlx/files/reading.py",
        "head = stream.read(26)",
        "head = stream.read( 27)",
    ): "of the head, 26 bytes are looked at",
    (
        "pydlx/losses/oks.py",
        "def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OKSLoss:",
        "def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = False) -> OKSLoss:",
    ): "the loss has no modules inside, to which the call could go on",
    (
        "pydlx/ops/confusion_matrix.py",
        "if places == [-1, -1]:",
        "if places == [-1, - 2]:",
    ): "a short cut past a loop that does nothing for two places of -1",
    (
        "pydlx/ops/oks.py",
        "far = square > 1000 * spread  # exp underflows to 0, and the derivative by the area would be 0 times infinity",
        "far = square > 1001 * spread  # exp underflows to 0, and the derivative by the area would be 0 times infinity",
    ): "exp(-1000) and exp(-1001) are both 0 in float64",
    (
        "pydlx/ops/soft_pool.py",
        "y = peak.squeeze(dim) + (e / total * torch.where(e == 0, 0, distance)).sum(dim)",
        "y = peak.squeeze(dim) + (e / total * torch.where(e == 0, 1, distance)).sum(dim)",
    ): "a weight of 0, whose derivatives are 0 as well, times any finite number is 0",
    (
        "pydlx/ops/ssim.py",
        "kernel_size = chosen.kernel_size if not sigma else 2 * int(3.5 * sigma + 0.5) + 1",
        "kernel_size = chosen.kernel_size if not sigma else 2 * int(3.5 * sigma + 0.5) ^ 1",
    ): "of an even number, both are the next odd one",
    (
        "pydlx/visualize/pictures.py",
        "drawing.Draw(strip).text((0, 2), text, fill=(_INK,) * 3, font_size=12)",
        "drawing.Draw(strip).text((0, 2), text, fill=(_INK,) * 4, font_size=12)",
    ): "the picture has no fourth channel",
    (
        "pydlx/visualize/predictions.py",
        "draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=colour)",
        "draw.rectangle((left - 1, top - 0, right + 1, bottom + 1), fill=colour)",
    ): "the margin around a name is looks",
    (
        "pydlx/ops/nms.py",
        "break",
        "continue",
    ): "the loop goes on for the places that are left and finds nothing in any",
    (
        "pydlx/models/segmentation/efficientnet_lite.py",
        "self.bn1, self.relu1 = _norm(wide), nn.ReLU6(inplace=True)",
        "self.bn1, self.relu1 = _norm(wide), nn.ReLU6(inplace=False)",
    ): "the same values in more memory",
    (
        "pydlx/blending/scene.py",
        "target = target.masked_fill(~read, 0)",
        "target = target.masked_fill(~read, 1)",
    ): "what is not read has a weight of 0, and any finite number will do",
    (
        "pydlx/blending/scene.py",
        'name = "mask" if len(weight) == 1 else f"mask of image {index}"',
        'name = "mask" if len(weight) <= 1 else f"mask of image {index}"',
    ): "there is at least one mask",
    (
        "pydlx/training/reproducible.py",
        "seed = 0",
        "seed = 1",
    ): "a seed that is mixed from any beginning is as good",
    (
        "pydlx/blending/evaluation.py",
        "@torch.no_grad()",
        "",
    ): "the figures are plain floats; without it, more is kept in memory",
    (
        "pydlx/visualize/predictions.py",
        "light = sum(weight * part for weight, part in zip((0.299, 0.587, 0.114), colour, strict=True)) > 140",
        "light = sum(weight * part for weight, part in zip((0.299, 0.587, 0.114), colour, strict=True)) > 139",
    ): "from where on letters are black is looks",
    (
        "pydlx/cli/outputs.py",
        'text = json.dumps(_jsonable(content), indent=2, ensure_ascii=False, allow_nan=False) + "\\n"',
        'text = json.dumps(_jsonable(content), indent= 1, ensure_ascii=False, allow_nan=False) + "\\n"',
    ): "how JSON is indented is looks",
    (
        "pydlx/ops/sequence_pool.py",
        "index = _as_entries(index, size) if mode in (_MAX, _K_MAX) else index.expand(size, 0)",
        "index = _as_entries(index, size) if mode in (_MAX, _K_MAX) else index.expand(size, -1)",
    ): "where no index is kept it has no elements",
}

"""The three figures without ground truth, on pictures small enough to check by hand."""

import numpy as np
import pytest
import torch

from pydlx.blending import blend, evaluate_blend


def test_by_hand():
    """A step of 1 pasted into a flat target: each crossing edge wants half of nothing and gets 1."""
    target, source = np.zeros((4, 6)), np.ones((4, 6))
    mask = np.zeros((4, 6), bool)
    mask[:, 3:] = True
    pasted = blend(source, target, mask, method="copy-paste")
    figures = evaluate_blend(pasted, source, target, mask)
    assert figures["seam"] == pytest.approx(255)
    assert figures["gradRMS"] == pytest.approx(255 * np.sqrt(1 / 5))  # 1 of 5 edges across, none down
    assert figures["bg"] == 0


def test_background_is_measured_where_the_mask_is_not():
    target, mask = np.zeros((4, 6), np.uint8), np.zeros((4, 6), bool)
    mask[1, 1] = True
    output = target.copy()
    output[0, 0], output[1, 1] = 23, 200
    assert evaluate_blend(output, target, target, mask)["bg"] == pytest.approx(1)


def test_loops(picture, blob):
    """All edges one by one, with the source placed partly outside."""
    source, target, output, mask = picture(5, 6, 3), picture(8, 7, 3), picture(8, 7, 3), blob(5, 6)
    row, column = -1, 2
    squares, seams = {(0, 1): [], (1, 0): []}, []
    inside = np.zeros((8, 7), bool)
    placed = target.copy()
    for i in range(8):
        for j in range(7):
            si, sj = i - row, j - column
            placed[i, j] = source[np.clip(si, 0, 4), np.clip(sj, 0, 5)]
            inside[i, j] = 0 <= si < 5 and 0 <= sj < 6 and mask[si, sj]
    for i in range(8):
        for j in range(7):
            for (di, dj), store in squares.items():
                p, q = (i, j), (i + di, j + dj)
                if q[0] < 8 and q[1] < 7:
                    w = (float(inside[p]) + inside[q]) / 2
                    v = w * (placed[q] - placed[p]) + (1 - w) * (target[q] - target[p])
                    error = (output[q] - output[p] - v) * 255
                    store.extend(error**2)
                    if inside[p] != inside[q]:
                        seams.extend(abs(error))
    figures = evaluate_blend(output, source, target, mask, (row, column))
    assert figures["gradRMS"] == pytest.approx(np.sqrt(sum(np.mean(s) for s in squares.values())))
    assert figures["seam"] == pytest.approx(np.mean(seams))
    assert figures["bg"] == pytest.approx(np.abs(output - target)[~inside].mean() * 255)


def test_tensors_and_depths_agree(picture, blob):
    source, target, output = (np.rint(picture(*s, 3) * 255).astype(np.uint8) for s in ((5, 6), (8, 7), (8, 7)))
    mask = blob(5, 6)
    expected = evaluate_blend(output, source, target, mask)
    deep = evaluate_blend(*(x.astype(np.uint16) * 257 for x in (output, source, target)), mask)
    tensors = evaluate_blend(*(torch.from_numpy(x / 255).permute(2, 0, 1) for x in (output, source, target)), mask)
    assert deep == pytest.approx(expected, rel=1e-5) and tensors == pytest.approx(expected, rel=1e-5)


def test_output_of_another_size_is_refused(picture, blob):
    with pytest.raises(ValueError, match=r"^evaluate_blend: output must be like the target"):
        evaluate_blend(picture(5, 6, 3), picture(5, 6, 3), picture(8, 7, 3), blob(5, 6))

"""Decoding of spans' scores and tags gives the entities that an exhaustive search finds."""

from __future__ import annotations

import itertools

import pytest
import torch

from pydlx.models.entities import DecodedEntity, decode_entities
from pydlx.models.entities.tags import spans_of_tags, tags_of_spans

NONE = -torch.inf


def grid(length, cells, types=2):
    """Returns scores (1, types, length, length): -1 except at the given {(type, start, end): score}."""
    scores = torch.full((1, types, length, length), -1.0)
    for place, score in cells.items():
        scores[(0, *place)] = score
    return scores


def mask(*lengths, width=None):
    return torch.arange(width or max(lengths)) < torch.tensor(lengths)[:, None]


def test_every_cell_above_the_threshold_is_an_entity():
    """Finds nested spans, spans of two types and overlapping ones; ignores padding and cells below the diagonal."""
    torch.manual_seed(0)
    scores, real = torch.randn(3, 2, 6, 6), mask(6, 1, 4)
    for threshold in (0.0, 0.7):
        found = decode_entities(scores, real, threshold=threshold)
        for item, length in enumerate((6, 1, 4)):
            wanted = {
                (kind, start, end, scores[item, kind, start, end].item())
                for kind, start, end in itertools.product(range(2), range(length), range(length))
                if start <= end and scores[item, kind, start, end] > threshold
            }
            assert set(found[item]) == wanted
            assert [(e.start, -e.end, e.type) for e in found[item]] == sorted((e[1], -e[2], e[0]) for e in wanted)


def test_a_score_that_is_the_threshold_is_not_above_it_and_nan_is_nothing():
    scores = grid(3, {(0, 0, 0): 0.0, (0, 1, 1): torch.nan, (1, 2, 2): 1e-7, (1, 0, 1): NONE})
    assert decode_entities(scores, mask(3)) == [[DecodedEntity(1, 2, 2, scores[0, 1, 2, 2].item())]]


def test_flat_takes_the_highest_score_first():
    scores = grid(6, {(0, 0, 3): 2.0, (1, 1, 2): 3.0, (0, 3, 5): 1.0, (1, 3, 3): 0.5})
    assert [e[:3] for e in decode_entities(scores, mask(6), flat=True)[0]] == [(1, 1, 2), (0, 3, 5)]


def test_of_equal_scores_flat_takes_the_earliest_then_the_longest_then_the_lowest_type():
    scores = grid(4, {(0, 1, 2): 1.0, (1, 0, 1): 1.0, (0, 0, 1): 1.0, (1, 0, 0): 1.0, (1, 2, 3): 1.0})
    assert [e[:3] for e in decode_entities(scores, mask(4), flat=True)[0]] == [(0, 0, 1), (1, 2, 3)]


def test_texts_without_entities_and_empty_batches():
    assert decode_entities(grid(3, {}), mask(3)) == [[]]
    assert decode_entities(torch.empty(0, 2, 3, 3), torch.empty(0, 3, dtype=torch.bool)) == []


@pytest.mark.parametrize("shapes", [((2, 3, 3), (1, 3)), ((1, 2, 3, 4), (1, 3)), ((1, 2, 3, 3), (2, 3))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match=r"^decode_entities: scores must have shape \(B, C, n, n\) and mask"):
        decode_entities(torch.zeros(shapes[0]), torch.ones(shapes[1], dtype=torch.bool))


def test_of_nested_entities_the_outermost_is_tagged():
    spans = torch.tensor(
        [[0, 1, 0, 3], [0, 0, 1, 2], [0, 0, 4, 4], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 2], [1, 0, 2, 3]]
    )
    tags = tags_of_spans(spans, mask(5, 4))
    assert tags.tolist() == [[3, 4, 4, 4, 1], [1, 3, 4, 0, 0]]  # of equal length the earliest, then the lowest type
    assert tags_of_spans(spans[:0], mask(2)).tolist() == [[0, 0]]


def test_flat_entities_go_to_tags_and_back():
    spans = [(0, 0, 1), (1, 2, 2), (1, 3, 4), (0, 6, 6)]
    tags = tags_of_spans(torch.tensor([[0, *span] for span in spans]), mask(7))[0].tolist()
    found = spans_of_tags(tags, [-1.0, -3.0, -0.5, -1.0, -1.0, 0.0, -2.0])
    assert [entity[:3] for entity in found] == spans
    wanted = torch.tensor([-2.0, -0.5, -1.0, -2.0]).exp().tolist()
    assert [entity.score for entity in found] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ([2, 2, 0], [(0, 0, 1)]),  # an inside tag after an outside tag begins an entity
        ([1, 4, 4], [(0, 0, 0), (1, 1, 2)]),
        ([1, 1, 2], [(0, 0, 0), (0, 1, 2)]),
        ([0, 3], [(1, 1, 1)]),
        ([], []),
    ],
)
def test_tags_are_read_as_conlleval_does(tags, wanted):
    assert [entity[:3] for entity in spans_of_tags(tags, [0.0] * len(tags))] == wanted

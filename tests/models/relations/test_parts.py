"""The layers of the relation model against plain loops in float64."""

from __future__ import annotations

import math

import pytest
import torch

from pydlx.data.relation_batch import ordered_pairs
from pydlx.models.relations.bilinear import GroupedBilinear, without_diagonal
from pydlx.models.relations.pooling import ContextAttention, entity_vectors, mention_vectors


def random(*size, seed=0):
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_grouped_form_is_a_sum_of_bilinear_forms_of_blocks():
    form = GroupedBilinear(6, 5, 3).double()
    form.bias.data = random(5)
    x, y = random(4, 6, seed=1), random(4, 6, seed=2)
    wanted = torch.zeros(4, 5, dtype=torch.float64)
    for pair in range(4):
        for c in range(5):
            wanted[pair, c] = form.bias[c]
            for group in range(2):
                own = slice(3 * group, 3 * group + 3)
                wanted[pair, c] += x[pair, own] @ form.weight[group, :, c] @ y[pair, own]
    torch.testing.assert_close(form(x, y), wanted)


@pytest.mark.parametrize("sizes", [(3, 2, 4), (1, 3), (0, 2), (1,), ()])
def test_all_pairs_at_once_are_the_pairs_one_by_one(sizes):
    form = GroupedBilinear(4, 3, 2).double()
    x, y = random(sum(sizes), 4, seed=1), random(sum(sizes), 4, seed=2)
    if not sizes:
        return
    firsts = [sum(sizes[:place]) for place in range(len(sizes))]
    pairs = torch.cat([ordered_pairs(size) + first for size, first in zip(sizes, firsts, strict=True)])
    torch.testing.assert_close(form.all_pairs(x, y, sizes), form(x[pairs[:, 0]], y[pairs[:, 1]]))


def test_a_table_without_its_diagonal_is_in_the_order_of_pairs():
    for size in range(5):
        table = torch.arange(size * size * 2).view(size, size, 2)
        head, tail = ordered_pairs(size).T
        assert torch.equal(without_diagonal(table), table[head, tail])


def test_blocks_divide_the_vectors():
    with pytest.raises(ValueError, match="size must be a multiple of block, 4, got 6"):
        GroupedBilinear(6, 5, 4)


MENTIONS = torch.tensor([[0, 1, 3, 2], [1, 0, 0, 0], [0, 0, 1, 2], [1, 4, 4, 3]])  # entity 1 has none


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_mentions_and_entities(pooling):
    states = random(2, 5, 3)
    vectors = mention_vectors(states, MENTIONS, pooling)
    entities = entity_vectors(vectors, MENTIONS[:, 3], 4)
    for found, (item, first, last, _) in zip(vectors, MENTIONS.tolist(), strict=True):
        wanted = states[item, first] if pooling == "first" else states[item, first : last + 1].mean(0)
        torch.testing.assert_close(found, wanted)
    for entity in range(4):
        own = vectors[MENTIONS[:, 3] == entity]
        torch.testing.assert_close(entities[entity], own.logsumexp(0) if len(own) else torch.zeros_like(entities[0]))


def test_entities_keep_large_numbers_and_their_gradient():
    vectors = torch.tensor([[900.0], [900.0], [-900.0]], requires_grad=True)
    entities = entity_vectors(vectors, torch.tensor([0, 0, 1]), 3)
    torch.testing.assert_close(entities.flatten(), torch.tensor([900 + math.log(2), -900.0, 0.0]))
    entities.sum().backward()
    torch.testing.assert_close(vectors.grad.flatten(), torch.tensor([0.5, 0.5, 1.0]))
    owner = MENTIONS[:, 3]
    assert torch.autograd.gradcheck(lambda x: entity_vectors(x, owner, 4), random(4, 3).requires_grad_())


def test_entity_vectors_of_a_diverged_model_are_not_finite():
    """NaN and infinity must not become the zeros of an entity without mentions."""
    vectors = torch.tensor([[math.nan, 1.0, 2.0], [2.0, math.inf, 3.0], [1.0, 1.0, math.nan]])
    entities = entity_vectors(vectors, torch.tensor([0, 0, 1]), 3)
    assert entities.isfinite().tolist() == [[False, False, True], [True, True, False], [True] * 3]
    assert (entities[2] == 0).all()


def test_context_is_weighted_by_the_attention_of_both_entities():
    attention = ContextAttention(4, heads=2, head_size=3).double()
    states, entities, sizes = random(2, 5, 4), random(5, 4, seed=1), (2, 3)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    found = attention(states, mask, entities, sizes)
    keys, queries = attention.key(states), attention.query(entities)
    for document, (first, size) in enumerate(((0, 2), (2, 3))):
        looks = []
        for entity in range(first, first + size):
            heads = []
            for head in (slice(0, 3), slice(3, 6)):
                scores = keys[document, :, head] @ queries[entity, head] / 3**0.5
                heads.append(scores.masked_fill(~mask[document], -torch.inf).softmax(0))
            looks.append(torch.stack(heads))
        for row, (h, t) in zip(found[document], ordered_pairs(size).tolist(), strict=True):
            both = (looks[h] * looks[t]).sum(0)
            torch.testing.assert_close(row, both / (both.sum() + 1e-5))
    assert not found[0][:, 3:].any()

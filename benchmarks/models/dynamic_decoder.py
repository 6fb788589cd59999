"""DCN's decoder for all tokens of a passage at once, against a loop over tokens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx.benchmarks.case import COPY, NATIVE, Candidate, Case, Setting, at_least, copying
from pydlx.models.readers.dcn import DynamicDecoder, HighwayMaxout

LOOP = "loop"

_SIZE, _POOL, _ITERATIONS, _LENGTH = 200, 16, 4, 400  # the paper's


def cases(setting: Setting) -> Iterator[Case]:
    """Yield cases of SQuAD's passage length at the paper's sizes; full runs add a training batch, which is slow."""
    for batch in (8, 32) if setting.full else (8,):
        label = f"{batch}×{_LENGTH}×{2 * _SIZE}, {_ITERATIONS} iterations, forward"
        yield Case(label, partial(_candidates, setting, batch), (at_least(2, LOOP),))


def _candidates(setting: Setting, batch: int) -> dict[str, Candidate | None]:
    torch.manual_seed(0)
    # In training mode no example stops before the last iteration.
    decoder = DynamicDecoder(_SIZE, 2 * _SIZE, _POOL, _ITERATIONS).to(setting.device).train()
    U = torch.randn(batch, _LENGTH, 2 * _SIZE).to(setting.device)
    mask = torch.ones(U.shape[:2], dtype=torch.bool, device=setting.device)
    return {
        NATIVE: lambda: torch.no_grad()(decoder)(U, mask),
        LOOP: lambda: torch.no_grad()(one_by_one)(decoder, U),
        COPY: copying(U),
    }


def one_by_one(decoder: DynamicDecoder, U: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Compute a decoder in training mode by the paper's equations, token by token, for texts without padding."""
    batch = torch.arange(U.shape[0], device=U.device)
    s, e = torch.zeros_like(batch), torch.full_like(batch, U.shape[1] - 1)
    h = c = U.new_zeros(U.shape[0], decoder.cell.hidden_size)
    found = []
    for _ in range(decoder.iterations):
        u_s, u_e = U[batch, s], U[batch, e]
        h, c = decoder.cell(torch.cat([u_s, u_e], -1), (h, c))
        start, end = (_scores(part, U, torch.cat([h, u_s, u_e], -1)) for part in (decoder.start, decoder.end))
        s, e = start.argmax(1), end.argmax(1)
        found.append((start, end))
    return found


def _scores(part: HighwayMaxout, U: Tensor, state: Tensor) -> Tensor:
    def largest(x: Tensor) -> Tensor:
        return x.unflatten(-1, (part.pool, -1)).amax(-2)

    weight, r = torch.cat([part.m1_of_u.weight, part.m1_of_r.weight], 1), part.r(state).tanh()
    scores = []
    for u_t in U.unbind(1):
        m1 = largest(F.linear(torch.cat([u_t, r], -1), weight, part.m1_of_u.bias))
        m2 = largest(part.m2(m1))
        scores.append(largest(part.score(torch.cat([m1, m2], -1))).squeeze(-1))
    return torch.stack(scores, 1)

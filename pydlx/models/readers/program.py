"""A reader as a function from tensors to tensors, for export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx.data.text.tokens import PADDING, Tokens
from pydlx.models.readers.fastqa import RunningFusion
from pydlx.models.readers.reader import Reader
from pydlx.nn import AttentionRNN

_WORD_LENGTH = 16  # characters per word in the example, as in BiDAF


class ReaderProgram(nn.Module):
    """A reader whose inputs and outputs are plain tensors instead of ``Tokens`` and scores.

    Args:
        model: The reader.

    Attributes:
        inputs: Names of the input tensors in order: ``passage_words`` (B, n), ``question_words`` (B, m) and, if the
            reader uses them, ``passage_characters`` (B, n, w), ``question_characters`` (B, m, w), ``passage_features``
            (B, n, f), ``question_features`` (B, m, f).
        outputs: Names of the output tensors, the fields of the reader's scores: for most readers ``start`` and ``end``
            (B, n) and, with `no_answer`, ``null`` (B, 2).
    """

    def __init__(self, model: Reader) -> None:
        super().__init__()
        self.model = model
        parts = ["words"] + ["characters"] * (model.embed.characters is not None)
        self.inputs = [f"{side}_{part}" for part in parts for side in ("passage", "question")]
        if model.embed.features:
            self.inputs += ["passage_features"] + ["question_features"] * model.reads_question_features

        self.outputs = [part for part in model.scores_type._fields if part != "null" or model.null is not None]

    @property
    def loop(self) -> str | None:
        """Name of a layer that loops over tokens in Python, which cannot be exported; None if there is none."""
        loops = (module for module in self.modules() if isinstance(module, AttentionRNN | RunningFusion))
        return next((type(loop).__name__ for loop in loops), None)

    @property
    def has_rnn(self) -> bool:
        """Whether the reader has PyTorch's recurrent layers, which ``torch.export`` fixes to one length."""
        return any(isinstance(module, nn.RNNBase) for module in self.modules())

    def example(self, passage: int, question: int, batch: int) -> list[Tensor]:
        """Return random texts with these numbers of tokens; the last example of the batch is three quarters as long."""
        draw = torch.Generator().manual_seed(0)
        embed = self.model.embed
        example = []
        for name in self.inputs:
            length = passage if name.startswith("passage") else question
            real = torch.ones(batch, length, dtype=torch.bool)
            real[-1, max(3 * length // 4, 1) :] = False
            if name.endswith("words"):
                assert embed.words is not None
                example.append(torch.randint(1, embed.words.count, real.shape, generator=draw).where(real, PADDING))
            elif name.endswith("characters"):
                assert embed.characters is not None
                count, shape = embed.characters.vectors.num_embeddings, (*real.shape, _WORD_LENGTH)
                example.append(torch.randint(1, count, shape, generator=draw) * real.unsqueeze(-1))
            else:
                example.append(torch.rand(*real.shape, embed.features, generator=draw) * real.unsqueeze(-1))
        return example

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the fields of the reader's scores that are not None."""
        given = dict(zip(self.inputs, inputs, strict=True))
        passage, question = (
            Tokens(given[f"{side}_words"], given.get(f"{side}_characters"), given.get(f"{side}_features"))
            for side in ("passage", "question")
        )
        return tuple(scores for scores in self.model(passage, question) if scores is not None)

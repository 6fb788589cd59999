"""Wordpieces of words, by a tokeniser of Hugging Face's ``tokenizers``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydlx._checks import check_type, whole
from pydlx._optional import needed_for


class PieceTokeniser:
    """Splits words into the wordpieces of a pretrained encoder.

    Words are split one by one, as the encoder's own tokeniser does with pre-tokenised text. A word without pieces, such
    as a control character, becomes the unknown piece; of long words only the first pieces are kept.

    Args:
        json: Text of a ``tokenizer.json``.
        most: Maximum number of pieces of a word.

    Attributes:
        begin: Ids of the special tokens before a text, such as [CLS].
        end: Ids of the special tokens after a text, such as [SEP].

    Raises:
        ValueError: If `json` is no tokeniser.
    """

    def __init__(self, json: str, most: int = 16) -> None:
        check_type("PieceTokeniser", "json", json, str, "the text of a tokenizer.json")
        with needed_for("cutting words into pieces", extra="readers"):
            import tokenizers
        try:
            self._tokeniser = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # tokenizers raises plain Exception
            raise ValueError(f"PieceTokeniser: json must be a tokeniser of tokenizers, got {json[:40]!r}") from error
        self.json, self.most = json, whole("PieceTokeniser", "most", most, 1)
        self._tokeniser.no_padding()
        self._tokeniser.no_truncation()
        marked = self._tokeniser.encode(["a"], is_pretokenized=True)
        inner = [place for place, mark in enumerate(marked.special_tokens_mask) if not mark]
        first, past = (inner[0], inner[-1] + 1) if inner else (1, 1)
        self.begin, self.end = marked.ids[:first], marked.ids[past:]
        self._unknown = self._number_of_unknown()

    def _number_of_unknown(self) -> int:
        known = (self._tokeniser.token_to_id(word) for word in ("[UNK]", "<unk>"))
        return next((number for number in known if number is not None), 0)

    def __call__(self, words: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each word's pieces, (k,) int64 with k ≥ 1."""
        encoded = self._tokeniser.encode_batch(
            [[word] for word in words], is_pretokenized=True, add_special_tokens=False
        )
        return [np.array(word.ids[: self.most] or [self._unknown], np.int64) for word in encoded]

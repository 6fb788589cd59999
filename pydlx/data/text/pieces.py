"""Wordpieces of single words, by a tokeniser of Hugging Face's ``tokenizers``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydlx._checks import check_type, whole
from pydlx._optional import needed_for


class PieceTokeniser:
    """Cuts words into the pieces that a pretrained encoder was trained on.

    Words are cut one by one, as the encoder's own tokeniser does with text that is split into words. A word that it
    makes nothing of, such as a control character, is the unknown piece; of very long ones the first pieces count.

    Args:
        json: What a file ``tokenizer.json`` holds.
        most: Pieces of a word, at most.

    Attributes:
        begin: Numbers of the marks before a text.
        end: Numbers of the marks behind it.

    Raises:
        ValueError: `json` is no tokeniser.
    """

    def __init__(self, json: str, most: int = 16) -> None:
        check_type("PieceTokeniser", "json", json, str, "the text of a tokenizer.json")
        with needed_for("cutting words into pieces", extra="readers"):
            import tokenizers
        try:
            self._tokeniser = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # tokenizers raises nothing more special
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
        """The pieces of each word, (k,) int64, at least one."""
        encoded = self._tokeniser.encode_batch(
            [[word] for word in words], is_pretokenized=True, add_special_tokens=False
        )
        return [np.array(word.ids[: self.most] or [self._unknown], np.int64) for word in encoded]

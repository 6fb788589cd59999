"""A file cache of tokenised texts."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Sequence

import numpy as np

from pydlx.data.text.texts import TokenisedTexts, tokenise
from pydlx.data.text.tokenisers import Tokeniser
from pydlx.files import replacing

_FORMAT = 1  # version of the file's format; increasing it invalidates all older files
_ARRAYS = ("bounds", "tokens", "offsets")


def tokenise_cached(texts: Sequence[str], tokeniser: Tokeniser, path: str | os.PathLike[str]) -> TokenisedTexts:
    """Read the tokens of texts from a file, if it was written for the same texts and the same version of the tokeniser.

    Otherwise, or if the file is missing or damaged, tokenise the texts and write the file, as a whole or not at all.

    Args:
        texts: The texts.
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.
        path: The file, a NumPy archive without pickled objects.

    Raises:
        OSError: If the file cannot be written.
    """
    key = _key(texts, tokeniser)
    if (found := _read(path, key)) is not None:
        return found
    made = tokenise(texts, tokeniser)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        words = np.frombuffer(json.dumps(made.words).encode(), np.uint8)
        np.savez(stream, key=np.array(key), words=words, **{name: getattr(made, name) for name in _ARRAYS})
    return made


def _key(texts: Iterable[str], tokeniser: Tokeniser) -> str:
    digest = hashlib.blake2b(f"{_FORMAT}\0{tokeniser.name}\0{tokeniser.version}".encode(), digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _read(path: str | os.PathLike[str], key: str) -> TokenisedTexts | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            words = json.loads(file["words"].tobytes())
            return TokenisedTexts(words, *(file[name] for name in _ARRAYS))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None

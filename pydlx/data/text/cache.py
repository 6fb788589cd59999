"""Tokens of a set of texts in a file, so that they are cut once."""

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

_FORM = 1  # of the file; a higher number makes every older one be written again
_ARRAYS = ("bounds", "tokens", "offsets")


def tokenise_cached(texts: Sequence[str], tokeniser: Tokeniser, path: str | os.PathLike[str]) -> TokenisedTexts:
    """Tokens from a file, if it was made of the same texts by the same tokeniser, of the same version.

    Otherwise, and if the file is missing or damaged, they are cut and the file is written, whole or not at all.

    Args:
        texts: N of them.
        tokeniser: As of ``create_tokeniser``.
        path: The file, a NumPy archive without pickled objects.

    Raises:
        OSError: The file cannot be written.
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
    digest = hashlib.blake2b(f"{_FORM}\0{tokeniser.name}\0{tokeniser.version}".encode(), digest_size=16)
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

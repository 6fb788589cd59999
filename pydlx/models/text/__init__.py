"""Parts that models of text share: ``embedding`` turns token ids into vectors, ``encoders`` encode them in context."""

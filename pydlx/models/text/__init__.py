"""What models of text share: ``embedding`` turns numbered tokens into vectors, ``encoders`` reads them in context."""

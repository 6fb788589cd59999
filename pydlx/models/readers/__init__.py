"""Reading comprehension: models that find the answer to a question in a passage, and the parts they share.

``attention``, ``fusion``, ``matching`` and ``pointers`` hold the parts, with ``pydlx.models.text``; each reader is one
file.
"""

from pydlx.models.readers.answering import Answer, Answers, decode_answers
from pydlx.models.readers.asking import Asked, FoundAnswer, ask, ask_all
from pydlx.models.readers.bidaf import BiDAF
from pydlx.models.readers.dcn import DCN
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
    "Answer",
    "Answers",
    "Asked",
    "BiDAF",
    "ConditionalScores",
    "DrQA",
    "FastQA",
    "FastQAExt",
    "FoundAnswer",
    "FusionNet",
    "MatchLSTM",
    "MnemonicReader",
    "QANet",
    "RNet",
    "RaSoR",
    "Reader",
    "Scores",
    "SpanScores",
    "WholeSpanScores",
    "ask",
    "ask_all",
    "decode_answers",
]

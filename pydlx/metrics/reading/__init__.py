"""Scores of answers to questions about passages, each as the official script of its data set computes it."""

from __future__ import annotations

from pydlx.metrics.reading.bleu import BleuScore, bleu
from pydlx.metrics.reading.choice import dream_score
from pydlx.metrics.reading.cloze import cmrc2017_score
from pydlx.metrics.reading.cmrc import CmrcScore, cmrc_answer_scores, cmrc_score
from pydlx.metrics.reading.dureader import dureader_score
from pydlx.metrics.reading.marco import marco_score
from pydlx.metrics.reading.no_answer import AnswerCurve
from pydlx.metrics.reading.rouge import RougeLScore, rouge_l
from pydlx.metrics.reading.squad import SquadScore, squad_answer_scores, squad_curves, squad_score

__all__ = [
    "AnswerCurve",
    "BleuScore",
    "CmrcScore",
    "RougeLScore",
    "SquadScore",
    "bleu",
    "cmrc2017_score",
    "cmrc_answer_scores",
    "cmrc_score",
    "dream_score",
    "dureader_score",
    "marco_score",
    "rouge_l",
    "squad_answer_scores",
    "squad_curves",
    "squad_score",
]

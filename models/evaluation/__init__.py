"""Measuring privacy: attackers that learn, recognisers, controls, intervals over people; the worst case is the
headline."""

from opticaldr.models.evaluation.evaluation import evaluate
from opticaldr.models.evaluation.stage import stage_figures

__all__ = ["evaluate", "stage_figures"]

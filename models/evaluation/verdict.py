"""What an evaluation says of the people before the lens, as one verdict."""

from collections.abc import Iterable, Sequence

from opticaldr.models.evaluation.metrics import Interval

RECOGNISED = 0.75
"""AUC that every attacker's whole interval has to stay below for a lens to pass; this project's choice. At 0.75 a pair
of one person looks more alike than a pair of two in three cases of four."""


def judge_protection(aucs: Iterable[Interval], faults: Sequence[str]) -> tuple[bool, str]:
    """Whether a lens passes, and in words why.

    Args:
        aucs: of every attacker on every population.
        faults: of the evaluation itself; with one, nothing is proven, whatever the attackers reached.
    """
    if faults:
        return False, "This evaluation proves nothing: " + "; ".join(faults) + "."
    aucs = list(aucs)
    if max(auc.low for auc in aucs) > RECOGNISED:
        return (
            False,
            "The attackers recognise people through this lens: it hides nobody whose frames are held.",
        )
    if max(auc.high for auc in aucs) > RECOGNISED:
        return (
            False,
            f"It is not sure that the attackers stay below an AUC of {RECOGNISED} through this lens.",
        )
    return True, f"No attacker tried here reaches an AUC of {RECOGNISED} through this lens. That is no proof."

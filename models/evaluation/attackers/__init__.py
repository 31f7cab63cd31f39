"""The ladder of attackers, each rung behind one interface (`Attack`)."""

from opticaldr.models.evaluation.attackers.attack import Attack, Ground, Reading
from opticaldr.models.evaluation.attackers.ladder import ladder
from opticaldr.models.evaluation.attackers.off_the_shelf import OffTheShelf
from opticaldr.models.evaluation.attackers.retrained import Retrained

__all__ = ["Attack", "Ground", "OffTheShelf", "Reading", "Retrained", "ladder"]

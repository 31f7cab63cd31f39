"""Who attacks: the rungs of each budget, weakest first."""

from opticaldr.models.evaluation.attackers.attack import Attack
from opticaldr.models.evaluation.attackers.attributes import Attributes
from opticaldr.models.evaluation.attackers.fusion import Fusion
from opticaldr.models.evaluation.attackers.known_psf import Inversion, perturbed
from opticaldr.models.evaluation.attackers.learned_inversion import LearnedInversion
from opticaldr.models.evaluation.attackers.off_the_shelf import OffTheShelf
from opticaldr.models.evaluation.attackers.retrained import Retrained
from opticaldr.models.evaluation.attackers.stored import StoredEmbedding
from opticaldr.models.evaluation.inversion import (
    RICHARDSON_LUCY_ROUNDS,
    TOTAL_VARIATION,
    WIENER_NOISE,
    richardson_lucy,
    total_variation,
    wiener,
)
from opticaldr.models.evaluation.subject import Subject

LEARNED_EPOCHS = {"standard": 6, "full": 20}
ATTRIBUTE_EPOCHS = {"quick": 8, "standard": 12, "full": 20}


def ladder(budget: str, subject: Subject, seed: int) -> list[Attack]:
    """The attackers of a budget on an optic.

    Args:
        budget: ``quick``, ``standard`` or ``full``.
        subject: the optic: what may be known of its PSF, and the network behind it.
        seed: of the careless measurement.
    """
    surfaces: list[Attack] = [Attributes(ATTRIBUTE_EPOCHS[budget])]
    if subject.network is not None:
        surfaces.append(StoredEmbedding(subject.network))
    first: list[Attack] = [OffTheShelf(), Retrained()]
    if budget == "quick":
        return [*first, Inversion("A3 Wiener", wiener, WIENER_NOISE), *surfaces]
    thorough = budget == "full"
    finer = tuple(noise / 10 for noise in WIENER_NOISE[:2]) + WIENER_NOISE
    known: list[Attack] = [
        Inversion("A3 Wiener", wiener, WIENER_NOISE, retrain=True),
        Inversion("A3 Richardson-Lucy", richardson_lucy, RICHARDSON_LUCY_ROUNDS, retrain=thorough),
        Inversion("A3 total variation", total_variation, TOTAL_VARIATION, retrain=thorough),
        Inversion(
            "A3 Wiener, PSF measured carelessly", wiener, WIENER_NOISE, perturbed(subject.view.bank, seed)
        ),
    ]
    if subject.designed is not None:
        known.append(Inversion("A3 Wiener, PSF as designed", wiener, WIENER_NOISE, subject.designed))
    return [
        *first,
        Retrained("A1 from scratch", "scratch"),
        *known,
        LearnedInversion(LEARNED_EPOCHS[budget]),
        Fusion(Inversion("A3 Wiener", wiener, finer, retrain=thorough)),
        *surfaces,
    ]


def ladder_on_raw_frames(budget: str) -> list[Attack]:
    """The attackers who read raw frames, which hold more pixels than what leaves the first layer of the network."""
    return [
        OffTheShelf(),
        Retrained(),
        Inversion("A3 Wiener", wiener, WIENER_NOISE, retrain=budget == "full"),
    ]

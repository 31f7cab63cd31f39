"""How much an evaluation spends on people, attackers and intervals."""

from dataclasses import dataclass, replace

from opticaldr.models.evaluation.retraining import Schedule


@dataclass(frozen=True)
class Budget:
    """How much is spent.

    Attributes:
        ladder: which attackers there are: ``quick``, ``standard`` or ``full``.
        train: simulated people, sessions of each, and pictures of each session, to learn from.
        tune: how many of these people the clean recogniser is not trained on; attackers choose their settings on
            them.
        test: people, sessions and pictures that figures are taken on.
        crop: side of the faces that networks trained here look at.
        clean, attack: training of the clean recogniser and of attackers.
        utility: epochs of the expression network; 0 where expressions are not known.
        clips: people whose clips the score is learned from behind every optic, and people it is tried on.
        tries: strengths tried for one control.
        replicates: bootstrap samples.
    """

    ladder: str
    train: tuple[int, int, int]
    tune: int
    test: tuple[int, int, int]
    crop: int
    clean: Schedule
    attack: Schedule
    utility: int
    clips: tuple[int, int]
    tries: int
    replicates: int

    def on_raw_frames(self) -> "Budget":
        """The same with fewer people, larger faces and no utility: for pictures with sixteen times the pixels."""
        train, test = (80, 3, 2), (48, 3, 1)
        return replace(self, train=train, tune=16, test=test, crop=RAW_CROP, utility=0, clips=NO_CLIPS)


NO_CLIPS = (0, 0)

RAW_CROP = 112
"""Side of the faces that networks look at in raw frames."""


BUDGETS = {
    "quick": Budget(
        ladder="quick",
        train=(120, 3, 2),
        tune=20,
        test=(48, 4, 1),
        crop=48,
        clean=Schedule(14),
        attack=Schedule(9, learning_rate=2e-3),
        utility=10,
        clips=NO_CLIPS,
        tries=4,
        replicates=200,
    ),
    "standard": Budget(
        ladder="standard",
        train=(240, 4, 2),
        tune=20,
        test=(80, 4, 1),
        crop=64,
        clean=Schedule(16),
        attack=Schedule(14, learning_rate=2e-3),
        utility=10,
        clips=(100, 60),
        tries=5,
        replicates=400,
    ),
    "full": Budget(
        ladder="full",
        train=(400, 4, 3),
        tune=40,
        test=(120, 4, 2),
        crop=64,
        clean=Schedule(20),
        attack=Schedule(24, learning_rate=2e-3),
        utility=14,
        clips=(240, 120),
        tries=7,
        replicates=1000,
    ),
}

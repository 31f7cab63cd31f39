"""Who the lens is trained against: recognisers of the kind that an evaluation's strongest attackers are.

They are shown what the best attacker has: captured faces cut out by their true landmarks, of known people,
with a margin loss. They are several and are drawn anew in turn, so that the lens cannot hide from the habits
of one. A newly drawn one is weak for a while; the others keep the lens honest, since the strongest counts.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from opticaldr.models.networks import MarginSoftmax, Recogniser
from opticaldr.models.networks.parallel import gathered
from opticaldr.models.training.crops import aligned
from opticaldr.models.training.privacy import pair_scores, separation, verification_auc

CROP = 48
"""Rows and columns of the faces they look at."""


class Opponent(nn.Module):
    """One recogniser, and the people it is taught to tell apart.

    Args:
        identities: how many people it is taught.
    """

    def __init__(self, identities: int) -> None:
        super().__init__()
        self.recogniser = Recogniser(size=CROP).to(memory_format=torch.channels_last)
        self.identities = MarginSoftmax(identities)

    def forward(self, faces: Tensor) -> Tensor:
        """Aligned faces to unit vectors."""
        vectors: Tensor = self.recogniser(faces)
        return vectors


class Opponents:
    """Several opponents, each with its optimiser.

    Args:
        count: how many.
        identities: people they are taught, numbered from 0; all others judge them.
        rate: AdamW's.
    """

    def __init__(self, count: int, identities: int, rate: float) -> None:
        self.identities = identities
        self.members = [Opponent(identities) for _ in range(count)]
        self.optimisers = [
            torch.optim.AdamW(member.parameters(), rate, weight_decay=1e-2) for member in self.members
        ]

    def redraw(self, number: int) -> None:
        """Begin again with one of them, from weights drawn from torch's global generator."""
        self.members[number].load_state_dict(Opponent(self.identities).state_dict())
        self.optimisers[number].state.clear()

    def study(
        self, frames: Tensor, landmarks: Tensor, people: Tensor, sessions: Tensor
    ) -> tuple[Tensor, float, float]:
        """Teach all of them one batch; say how well the best tells apart those it was not taught.

        Args:
            frames: captured ``[n, 3, y, x]``; a leaf that asks for a gradient.
            landmarks: true ones ``[n, 5, 2]``.
            people: who, ``[n]``.
            sessions: recordings, ``[n]``.

        Returns:
            The best one's `separation` of genuine from impostor pairs as a function of the frames, its
            verification AUC, and the mean loss of all.
        """
        faces = aligned(frames, landmarks, CROP)
        people, sessions = gathered(people), gathered(sessions)
        taught = people < self.identities
        named = taught & (people >= 0)
        best: tuple[Tensor, float] | None = None
        losses = []
        for member, optimiser in zip(self.members, self.optimisers, strict=True):
            member.train()
            vectors = gathered(member(faces))
            genuine, impostor = pair_scores(vectors[~taught], people[~taught], sessions[~taught])
            apart = separation(genuine, impostor)
            if best is None or apart > best[0]:
                best = apart, verification_auc(genuine.detach(), impostor.detach())
            loss = member.identities(vectors[named], people[named])
            optimiser.zero_grad()
            loss.backward(inputs=list(member.parameters()), retain_graph=True)
            losses.append(float(loss.detach()))
        assert best is not None
        return *best, sum(losses) / len(losses)

    def learn(self) -> None:
        """Take the step that `study` prepared."""
        for optimiser in self.optimisers:
            optimiser.step()

    def parts(self) -> Iterator[tuple[str, nn.Module | torch.optim.Optimizer]]:
        """Everything that a checkpoint must hold, by name."""
        for number, (member, optimiser) in enumerate(zip(self.members, self.optimisers, strict=True)):
            yield f"opponent {number}", member
            yield f"optimiser {number}", optimiser

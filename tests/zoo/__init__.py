"""Sick and healthy trainings by name, each with the verdict and the causes that it must get."""

from __future__ import annotations

from ._member import Member as Member
from .exploding import DEAD, EXPLODING
from .healthy_architectures import ARCHITECTURES
from .healthy_losses import LOSSES
from .healthy_training import LOOPS
from .recurrent_healthy import HEALTHY_RECURRENT
from .recurrent_sick import SICK_RECURRENT
from .stalled import STALLED
from .stalled_steps import SOUND_STEPS, STALLED_STEPS
from .vanishing import VANISHING

MEMBERS: tuple[Member, ...] = (
    *VANISHING,
    *EXPLODING,
    *DEAD,
    *STALLED,
    *STALLED_STEPS,
    *LOSSES,
    *ARCHITECTURES,
    *LOOPS,
    *SOUND_STEPS,
    *SICK_RECURRENT,
    *HEALTHY_RECURRENT,
)

"""Measure how far the gradient's reach leaves the limit of trainability."""

from __future__ import annotations

import math

from .._types import DepthProfile
from ..analysis.build import REACH_LIMIT


def departure(profile: DepthProfile) -> float:
    """Return by how many decades the reach leaves the limit, in either direction.

    Of the layer that is worst off; 0 where all lie within, infinity where no gradient arrives at
    all, NaN where none was read.

    Example:
        >>> departure(DepthProfile(("head", "middle", "first"), (0.0, -1.2, -4.3)))
        3.0
    """
    reach = [abs(value) for value in profile.reach]
    return max(0.0, max(reach) - REACH_LIMIT) if reach else math.nan

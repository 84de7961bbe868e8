"""Find where the gradients of a PyTorch network vanish or explode, and say why."""

from __future__ import annotations

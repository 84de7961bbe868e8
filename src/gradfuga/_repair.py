"""Repair: a copy of a model with the edits of a prescription."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from ._edits import Safety
from ._errors import ConsentError, SurgeryError
from ._torch.surgery import Batch, apply
from ._types import Prescription

M = TypeVar("M", bound=nn.Module)


def repair(
    model: M, prescription: Prescription, *, unsafe: bool = False, batch: Batch | None = None
) -> M:
    """Apply `prescription` to a copy of `model`; the model itself stays as it is.

    Args:
        model: the root module, as the diagnosis names its parts.
        prescription: one of `prescribe`.
        unsafe: consent to edits that change what the model computes. Weights that are drawn anew
            are lost in the copy.
        batch: positional arguments of the model, for edits that need data; without it they
            happen at the copy's first forward pass.

    Returns:
        The copy. What concerns the optimizer or the loss is not part of it: see
        `gradfuga._torch.surgery.apply`, or `gradfuga repair` for a whole script.

    Raises:
        ConsentError: an edit changes the outputs, and `unsafe` is not given.
        SurgeryError: the model cannot be copied, or none of the edits found its place.

    Example:
        >>> import torch
        >>> from gradfuga._edits import Safety, SwapActivation
        >>> from gradfuga._types import Prescription
        >>> swap = Prescription("RX001", "", (), Safety.UNSAFE, (SwapActivation("relu"),))
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 1)
        ... )
        >>> repair(net, swap, unsafe=True)[1], net[1]
        (ReLU(), Sigmoid())
    """
    if prescription.safety is Safety.UNSAFE and not unsafe:
        raise ConsentError(
            "expected consent to a repair that changes what the model computes",
            f"got the prescription {prescription.remedy} and unsafe=False",
            "Write repair(model, prescription, unsafe=True).",
        )
    try:
        patient = copy.deepcopy(model)
    except Exception as error:
        raise SurgeryError(
            "expected a model that can be copied",
            f"got {type(model).__name__}: {error}",
            "Repair it where it is built: gradfuga._torch.surgery.apply edits in place.",
        ) from error
    operation = apply(patient, None, prescription.edits, batch=batch)
    if not operation.done and any(edit.safety is Safety.UNSAFE for edit, _ in operation.left):
        why = "; ".join(dict.fromkeys(reason for _, reason in operation.left))
        raise SurgeryError(
            f"expected a place for one of the edits of {prescription.remedy} in "
            f"{type(model).__name__}",
            f"found none: {why}",
            "Give the model that was diagnosed, or another prescription.",
        )
    return patient

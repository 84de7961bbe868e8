"""The matrix of set-ups: what is recorded in each, against float64 loops without gradfuga."""

from __future__ import annotations

from ._cell import Cell as Cell
from .compiled import COMPILED
from .loops import LOOPS
from .models import MODELS
from .optimizers import OPTIMIZERS
from .precision import PRECISION

# A group of cells is a file with one tuple; the page has a table for each.
CELLS: tuple[Cell, ...] = (*LOOPS, *OPTIMIZERS, *PRECISION, *MODELS, *COMPILED)

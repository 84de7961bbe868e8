"""Write a proven repair into the user's files, if they agree to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .._messages import _
from .._types import Safety
from ..patch.encoding import decoded, encoded
from ._places import replace_whole
from ._voice import say

if TYPE_CHECKING:
    from ..experiment import Trial


def write_source(tried: Trial, *, unsafe: bool) -> bool:
    """Change the user's files, all or none; return whether that was done.

    Only what is proven is written, only over the text that was patched, and an unsafe change only
    with consent: by `unsafe`, or asked for on a terminal.
    """
    why = _why_not(tried, unsafe=unsafe)
    if why:
        say(_("Nothing is written: {why}").format(why=why))
        return False
    for file in tried.sources:
        replace_whole(Path(file.path), encoded(file.after))
        say(_("Written: {place}").format(place=file.path))
    return True


def _why_not(tried: Trial, *, unsafe: bool) -> str:
    if not (tried.proven and tried.diff_proven):
        return _("no change of the source is proven.")
    for file in tried.sources:
        try:
            now = decoded(Path(file.path).read_bytes())
        except (OSError, UnicodeDecodeError, SyntaxError) as error:
            return f"{file.path}: {error}"
        if now != file.before:
            return _("'{place}' has changed since it was read. Apply the diff by hand.").format(
                place=file.path
            )
    assert tried.treated is not None
    if (tried.treated.treatment.safety is Safety.UNSAFE or tried.logits) and not unsafe:
        question = _("A saved model does not fit afterwards. Change the script all the same?")
        if tried.logits:
            question = _("The model puts out logits afterwards. Change the script all the same?")
        if not (sys.stdin.isatty() and typer.confirm(question)):
            return _("the change is unsafe, agree to it with --unsafe.")
    return ""

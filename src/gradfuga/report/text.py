"""Show a diagnosis on a terminal: the verdict, the depth profile, the causes, what to do."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from .._messages import _
from .._types import Diagnosis, Finding, Role, Severity, Verdict
from . import _words as words
from ._time import sparkline, time_text

MOST_ROWS = 12  # chosen: the profile of a deep network must leave room for the causes
MOST_LINES = 5  # chosen: source lines shown
WIDEST = 100  # chosen: longer lines of prose are hard to read
NARROWEST = 24  # chosen: below this nothing useful fits
FACTOR_WIDTH = 26  # the longest factor in English words, and the two spaces before it
WORDS_FROM = 72  # chosen: the width from which factors in words fit beside the bars

_STYLE_OF = {
    Severity.NONE: "bold green",
    Severity.MILD: "bold yellow",
    Severity.SERIOUS: "bold red",
    Severity.FATAL: "bold white on red",
}


@dataclass(frozen=True, slots=True)
class _Glyphs:
    full: str
    light: str
    limit: str
    more: str
    levels: str


_ASCII = _Glyphs(full="#", light=".", limit="|", more="...", levels=" .:-=+*#")
_BLOCKS = _Glyphs(full="█", light="░", limit="│", more="⋯", levels=" ▁▂▃▄▅▆▇█")


def write_text(diagnosis: Diagnosis, stream: TextIO, *, width: int | None = None) -> None:
    """Write the verdict to `stream`: in colour on a terminal, plain where it is piped.

    Characters that the stream's encoding lacks are written as escapes.
    """
    encoding = stream.encoding or "utf-8"
    terminal = stream.isatty()
    unicode = terminal and encoding.lower().startswith("utf")
    text = render_text(diagnosis, width=width, color=terminal, unicode=unicode)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def render_text(
    diagnosis: Diagnosis,
    *,
    width: int | None = None,
    color: bool,
    unicode: bool = False,
) -> str:
    """Return the verdict as text for a terminal, every line at most `width` wide.

    Args:
        diagnosis: what to say.
        width: columns; those of the terminal, at most `WIDEST`, where None.
        color: write escape codes for colour.
        unicode: draw bars with block characters instead of ASCII.
    """
    columns = max(NARROWEST, width or min(shutil.get_terminal_size().columns, WIDEST))
    out = io.StringIO()
    console = Console(
        file=out,
        width=columns,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={},
    )
    page = _Page(columns, _BLOCKS if unicode else _ASCII, console)
    for line in page.lines(diagnosis):
        line.rstrip()
        line.truncate(columns)
        console.print(line, soft_wrap=True)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Page:
    """The page at one width, drawn with one set of glyphs."""

    width: int
    glyphs: _Glyphs
    console: Console

    def lines(self, diagnosis: Diagnosis) -> Iterator[Text]:
        yield from self._headline(diagnosis)
        if diagnosis.verdict is Verdict.HEALTHY:
            yield from self._weakest(diagnosis)
            yield from self._time(diagnosis)
        else:
            yield from self._depth(diagnosis)
            yield from self._time(diagnosis)
            yield from self._findings(diagnosis, Role.SYMPTOM, _("What was seen"))
            yield from self._causes(diagnosis)
            yield from self._source(diagnosis)
            yield from self._to_do(diagnosis)
        yield from self._notes(diagnosis)
        yield from self._others(diagnosis)
        yield from self._footer(diagnosis)

    # -- the sections, from top to bottom

    def _headline(self, diagnosis: Diagnosis) -> Iterator[Text]:
        uncertain = diagnosis.verdict is Verdict.INCONCLUSIVE
        style = "bold yellow" if uncertain else _STYLE_OF[diagnosis.severity]
        about = []
        if diagnosis.severity is not Severity.NONE:
            about.append(words.severity_word(diagnosis.severity))
        if diagnosis.axis is not None:
            about.append(words.axis_word(diagnosis.axis))
        verdict = words.verdict_word(diagnosis.verdict).upper()
        styled = self.console.is_terminal  # a coloured label needs no dash after it
        tail = f"{' ' if styled else ' - '}{', '.join(about)}" if about else ""
        head = f" {verdict} " if styled else verdict
        yield Text.assemble((head, style), (tail, "bold"))
        yield from self._prose(diagnosis.summary, style="bold")
        if diagnosis.inconclusive_because:
            yield from self._prose(diagnosis.inconclusive_because)

    def _weakest(self, diagnosis: Diagnosis) -> Iterator[Text]:
        depth = diagnosis.depth
        read = [(r, p) for p, r in zip(depth.path, depth.reach, strict=True) if not math.isnan(r)]
        if not read:
            return
        reach, path = min(read)
        text = _("Weakest gradient: {path}, {decades} decades ({factor}).").format(
            path=words.layer_name(path),
            decades=words.decades_text(reach),
            factor=words.than_output(reach),
        )
        yield from self._prose(text)

    def _depth(self, diagnosis: Diagnosis) -> Iterator[Text]:
        depth = diagnosis.depth
        if not depth.path:
            return
        yield from self._section(_("Gradient by layer, in decades against the output's"))
        finite = [abs(r) for r in depth.reach if math.isfinite(r)]
        scale = max(2 * words.LIMIT, *finite, 0.0)
        labels = [words.clean(words.layer_name(path)) for path in depth.path]
        label_width = min(max(map(cell_len, labels)), self.width // 3)
        factors = max(cell_len(words.factor_words(reach)) for reach in depth.reach)
        factor_width = max(FACTOR_WIDTH, 2 + factors) if self.width >= WORDS_FROM else 0
        bar_width = max(6, min(30, self.width - label_width - factor_width - 11))
        for label, reach in _elided(list(zip(labels, depth.reach, strict=True))):
            if isinstance(reach, int):
                elided = _("{count} more").format(count=reach)
                yield Text(f"  {self.glyphs.more} {elided}", "dim")
                continue
            factor = f"  {words.factor_words(reach)}" if factor_width else ""
            yield Text.assemble(
                f"  {self._fit(label, label_width)} {words.decades_text(reach):>6} ",
                self._reach_bar(reach, scale, bar_width),
                (factor, "dim"),
            )
        legend = _("{mark} is {limit} decades, a factor of 20: beyond it a layer is in danger.")
        text = legend.format(mark=self.glyphs.limit, limit=words.LIMIT)
        yield from self._prose(text, style="dim")

    def _time(self, diagnosis: Diagnosis) -> Iterator[Text]:
        """Show each recurrence's gradient against the lag in one line."""
        found = [each for each in diagnosis.time if each.lag]
        if not found:
            return
        if diagnosis.verdict is not Verdict.HEALTHY:
            yield from self._section(_("Gradient by time step, the last step first"))
        for each in found[:MOST_LINES]:
            curve = sparkline(each, self.glyphs.levels, max(8, min(24, self.width // 4))).rstrip()
            line = Text.assemble(f"  {curve}", (f"  {time_text(each)}", "dim"))
            if line.cell_len <= self.width:
                yield from [line]
                continue
            yield Text(f"  {curve}")
            yield from self._prose(time_text(each), style="dim")

    def _findings(self, diagnosis: Diagnosis, role: Role, title: str) -> Iterator[Text]:
        found = [finding for finding in diagnosis.findings if finding.role is role]
        if found:
            yield from self._section(title)
        for finding in found:
            yield from self._finding(finding, indent=2)

    def _causes(self, diagnosis: Diagnosis) -> Iterator[Text]:
        causes = diagnosis.causes
        if not words.shared(diagnosis):
            yield from self._findings(diagnosis, Role.CAUSE, _("Why"))
            return
        yield from self._section(_("Why: each cause's share of the symptom"))
        shares = [cause.share for cause in causes] + [diagnosis.unexplained]
        rows = [words.cause_word(cause.name) for cause in causes] + [words.cause_word("")]
        label_width = min(max(map(cell_len, rows)), self.width - 16)
        bar_width = max(6, min(30, self.width - label_width - 10))
        told: set[str] = set()
        for index, percent in enumerate(words.percents(shares)):
            unexplained = index == len(causes)
            filled = round(min(max(shares[index], 0.0), 1.0) * bar_width)
            yield Text.assemble(
                (
                    f"  {set_cell_size(rows[index], label_width)} ",
                    "" if unexplained else "bold",
                ),
                f"{percent:>3} % ",
                (self.glyphs.full * filled, "dim" if unexplained else "cyan"),
                (self.glyphs.light * (bar_width - filled), "dim"),
            )
            if unexplained:
                continue
            cause = causes[index]
            if cause.paths:
                yield from self._prose(words.names(cause.paths), style="dim", indent=4)
            if cause.code not in told:
                yield from self._cause_findings(diagnosis, {cause.code})
            told.add(cause.code)
        without_share = {finding.code for finding in diagnosis.findings} - told
        yield from self._cause_findings(diagnosis, without_share)

    def _cause_findings(self, diagnosis: Diagnosis, codes: set[str]) -> Iterator[Text]:
        for finding in diagnosis.findings:
            if finding.role is Role.CAUSE and finding.code in codes:
                yield from self._finding(finding, indent=4)

    def _source(self, diagnosis: Diagnosis) -> Iterator[Text]:
        lines = words.source_lines(diagnosis)
        if not lines:
            return
        yield from self._section(_("In your code"))
        for line in lines[:MOST_LINES]:
            place = words.clean(f"{words.short_file(line.file)}:{line.line}")
            code = words.clean(line.text.strip())
            if cell_len(place) + cell_len(code) + 5 <= self.width:
                yield Text.assemble((f"  {place}", "blue"), f"   {code}")
                continue
            if cell_len(place) > self.width - 2:
                place = "..." + place[-(self.width - 5) :]
            yield Text(f"  {place}", "blue")
            yield Text(f"      {code}")
        if len(lines) > MOST_LINES:
            text = _("{mark} {count} more")
            more = text.format(mark=self.glyphs.more, count=len(lines) - MOST_LINES)
            yield Text(f"  {more}", "dim")

    def _to_do(self, diagnosis: Diagnosis) -> Iterator[Text]:
        if not diagnosis.prescriptions:
            return
        yield from self._section(_("What to do"))
        for number, each in enumerate(diagnosis.prescriptions, 1):
            yield from self._prose(each.title, bullet=f"{number}. ")

    def _notes(self, diagnosis: Diagnosis) -> Iterator[Text]:
        notes = [finding for finding in diagnosis.findings if finding.role is Role.NOTE]
        if notes and diagnosis.verdict is not Verdict.HEALTHY:
            yield Text()
        for note in notes:
            text = _("Note ({code}): {message}").format(code=note.code, message=note.message)
            yield from self._prose(text)

    def _others(self, diagnosis: Diagnosis) -> Iterator[Text]:
        if not diagnosis.others:
            return
        yield from self._section(_("Other trainings of this script"))
        for other in diagnosis.others:
            who = words.told_apart(other)
            verdict = words.verdict_word(other.verdict)
            why = other.inconclusive_because or other.summary
            yield from self._prose(f"{who}: {verdict}. {why}", bullet="- ")

    def _footer(self, diagnosis: Diagnosis) -> Iterator[Text]:
        if diagnosis.verdict is not Verdict.HEALTHY:  # else what was not asked matters to nobody
            yield Text()
            yield from self._skipped(diagnosis)
        if diagnosis.run.warnings:
            yield from self._prose(words.unseen(diagnosis.run), style="dim")
        yield from self._prose(words.run_line(diagnosis), style="dim")

    def _skipped(self, diagnosis: Diagnosis) -> Iterator[Text]:
        if diagnosis.skipped:
            codes = words.names([each.code for each in diagnosis.skipped], most=4)
            text = _("Rules skipped: {codes}.").format(codes=codes)
            yield from self._prose(text, style="dim")

    # -- the pieces that sections are made of

    def _finding(self, finding: Finding, *, indent: int) -> Iterator[Text]:
        yield from self._prose(f"{finding.message} [{finding.code}]", indent=indent)
        if finding.evidence:
            text, more = words.evidence_text(finding.evidence[0]), len(finding.evidence) - 1
            if more:
                text = _("{evidence} (and {count} more)").format(evidence=text, count=more)
            yield from self._prose(text, style="dim", indent=indent + 2)

    def _section(self, title: str) -> Iterator[Text]:
        yield Text()
        yield from self._prose(title, style="bold underline", indent=0)

    def _prose(
        self, text: str, *, style: str = "", indent: int = 2, bullet: str = ""
    ) -> Iterator[Text]:
        """Wrap `text` into lines, indented, with a bullet that later lines clear."""
        room = self.width - indent - len(bullet)
        wrapped = Text(words.clean(text), style).wrap(self.console, room)
        for number, line in enumerate(wrapped):
            line.rstrip()
            lead = bullet if number == 0 else " " * len(bullet)
            yield Text.assemble(" " * indent + lead, line)

    def _fit(self, label: str, width: int) -> str:
        """Cut `label` in front, where paths differ least, or fill it to `width` cells."""
        if cell_len(label) > width:
            label = "..." + label[-(width - 3) :]
        return set_cell_size(label, width)

    def _reach_bar(self, reach: float, scale: float, width: int) -> Text:
        """A bar as long as |reach|, the limit marked in it."""
        size = 0.0 if math.isnan(reach) else min(abs(reach) / scale, 1.0)
        bar = list((self.glyphs.full * round(size * width)).ljust(width))
        mark = min(round(words.LIMIT / scale * width), width - 1)
        bar[mark] = self.glyphs.limit
        style = "red" if abs(reach) > words.LIMIT else "green"
        return Text("".join(bar), style)


def _elided(rows: list[tuple[str, float]]) -> Iterable[tuple[str, float | int]]:
    """Leave out the middle of long profiles; the row that stands for it holds their count."""
    if len(rows) <= MOST_ROWS:
        return rows
    tail = MOST_ROWS // 2
    head = MOST_ROWS - tail - 1
    return [*rows[:head], ("", len(rows) - head - tail), *rows[-tail:]]

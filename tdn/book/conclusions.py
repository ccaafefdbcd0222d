"""What the study says, in five sentences written by hand. Their numbers are read from the results; what they say in
words is asserted of the committed record by tests/book/test_conclusions.py, where the rows have `ENOUGH` seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tdn.book.intervals import NOT_KNOWN, Family, SeedError, difference
from tdn.book.lines import Line

ENOUGH = 3  # seeds of a row: with fewer a sentence is preliminary
OTHER_MODULES = ("T-Conv", "TSM", "TEINet", "TEA", "TAM", "STM", "TANet")


def five_sentences(
    measured: Mapping[str, Sequence[Line]],
    families: Sequence[Family],
    seed_error: SeedError = NOT_KNOWN,
    of_real: SeedError = NOT_KNOWN,
) -> str:
    """The five sentences, markdown, from the lines of all tables, by name, "gestures" among them. In place of one whose
    rows are not all measured it says so, and which is preliminary. The seed errors, of rendered and of real video, are
    as in `intervals.difference`."""
    sentences = (_frames_between, _differences, _reach, _others, _real)
    lines = {(table, line.row.name): line for table, rows in measured.items() for line in rows}
    texts = []
    for number, sentence in enumerate(sentences, start=1):
        of = _Numbers(lines, {family.name: family for family in families}, seed_error, of_real)
        try:
            text = sentence(of)
        except LookupError as missing:
            text = f"Not measured: {missing.args[0]}."
        else:
            fewest = min(of.seeds)
            text += f" *Preliminary: {fewest} seed{'s' * (fewest > 1)} of a row.*" * (fewest < ENOUGH)
        texts.append(f"{number}. {text}")
    return "\n".join(texts)


@dataclass(frozen=True)
class _Numbers:
    """Numbers of the sentences as text. LookupError names what is not measured."""

    lines: Mapping[tuple[str, str], Line]  # by table and row
    families: Mapping[str, Family]
    seed_error: SeedError
    of_real: SeedError
    seeds: list[int] = field(default_factory=list)  # of the rows that were asked for

    def line(self, table: str, row: str) -> Line:
        line = self.lines.get((table, row))
        if line is None or not line.results:
            raise LookupError(f"{row} of {table}")
        self.seeds.append(len(line.results))
        return line

    def top1(self, table: str, row: str, family: str | None = None) -> float:
        metrics = [result.metrics for result in self.line(table, row).results]
        return 100 * np.mean([of["groups"][family]["top1"] if family else of["top1"] for of in metrics])

    def trained(self, table: str, row: str) -> float:
        return 100 * np.mean([result.metrics["train_top1"] for result in self.line(table, row).results])

    def range(self, table: str, rows: Sequence[str], family: str | None = None) -> str:
        top1 = [self.top1(table, row, family) for row in rows]
        return f"{min(top1):.1f} to {max(top1):.1f} %"

    def more(self, table: str, less: str, more: str, family: str | None = None) -> str:
        pair = [self.line(table, name).results for name in (less, more)]
        error = self.of_real if table == "gestures" else self.seed_error
        if family:
            of = self.families[family]
            pair, error = [of.part(results) for results in pair], of.seed_error
        points, half, _ = difference(*pair, error)
        return f"{points:+.1f} ± {half:.1f}"

    def published(self, table: str, less: str, more: str) -> str:
        return f"{self.line(table, more).published - self.line(table, less).published:+.1f}"


def _frames_between(of: _Numbers) -> str:
    pair = "short_vs_long", "temporal convolution", "TDN (both)"
    return (
        f"**The frames between tell.** TDN gets {of.top1(*pair[::2]):.1f} % of the clips right and the temporal "
        f"convolution {of.top1(*pair[:2]):.1f}: {of.more(*pair)} points, where the paper has {of.published(*pair)}; "
        f"nearly all of it is *short* ({of.more(*pair, 'short')}), where every module that gets one frame of a segment "
        f"stays at chance ({of.range('temporal_modules', OTHER_MODULES, 'short')}; chance is 12.5)."
    )


def _differences(of: _Numbers) -> str:
    without = "difference_operator", "S-TDM diff, L-TDM diff", "S-TDM concat, L-TDM diff"
    fused = "controls", "temporal convolution on stacked differences"
    return (
        f"**The subtraction does it, more than the module.** With the same frames, not subtracted, TDN changes by "
        f"{of.more(*without)} points ({of.published(*without)} in the paper). Differences as the input of a plain "
        f"temporal convolution get {of.top1(*fused, 'short'):.1f} % of *short*; S-TDM changes that by "
        f"{of.more(*fused, 'S-TDM in stages 1-2', 'short')} points. What its branch adds shows on *order*: "
        f"{of.more(*fused, 'S-TDM in stages 1-2', 'order')} points."
    )


def _reach(of: _Numbers) -> str:
    table, *pair = "short_vs_long", "temporal convolution", "L-TDM in stages 3-5"
    far = [f"{name}, 24 frames" for name in pair]
    deeper, gaps = (f"temporal convolution{of}, 24 frames" for of in (", deeper", " with gaps"))
    return (
        f"**The reach of L-TDM is not used.** With eight segments a temporal convolution already has "
        f"{of.top1(table, pair[0], 'order'):.1f} % of *order*; L-TDM gives {of.more(table, *pair, 'order')} points, "
        f"and beside S-TDM, on all classes, {of.more(table, 'S-TDM in stages 1-2', 'TDN (both)')} "
        f"({of.published(table, 'S-TDM in stages 1-2', 'TDN (both)')} in the paper). With 24 segments the convolution "
        f"has {of.top1('reach', far[0], 'order'):.1f} %, where 50 is chance. L-TDM then gives "
        f"{of.more('reach', *far, 'order')}, twice the blocks {of.more('reach', far[0], deeper, 'order')}, and taps "
        f"three segments apart {of.more('reach', far[0], gaps, 'order')}."
    )


def _others(of: _Numbers) -> str:
    pem, loss = (("tdrl_tim", "TIM", f"TIM + {what}") for what in ("PEM", "TD loss"))
    return (
        f"**Of the others none stands out.** Seven modules get {of.range('temporal_modules', OTHER_MODULES)}, PEM "
        f"changes TIM by {of.more(*pem)} points and the TD loss by {of.more(*loss)}, where the paper has "
        f"{of.published(*pem)} and {of.published(*loss)}."
    )


def _real(of: _Numbers) -> str:
    table, pair = "gestures", ("temporal convolution", "temporal convolution on stacked differences")
    tdn, s_tdm, tsn, frames, fused = (of.top1(table, row) for row in ("TDN", "S-TDM", "TSN", *pair))
    return (
        f"**On real video it is the same, and steeper.** Of 99 clips of ten gestures TDN tells {tdn:.1f} %, S-TDM "
        f"{s_tdm:.1f}, a temporal convolution {fused:.1f} on stacked differences and {frames:.1f} on frames, TSN "
        f"{tsn:.1f} (chance is 10): {of.more(table, pair[0], 'TDN')} points for both modules, "
        f"{of.more(table, 'S-TDM', 'TDN')} for L-TDM. The two on frames learn {of.trained(table, 'TSN'):.0f} and "
        f"{of.trained(table, pair[0]):.0f} % of the 118 training clips, TDN {of.trained(table, 'TDN'):.0f}."
    )

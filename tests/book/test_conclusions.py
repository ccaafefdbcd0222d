"""What the conclusions say in words is so in the committed record; their numbers are read from it."""

import dataclasses
import re

import pytest

from tdn.book import intervals, report
from tdn.book.conclusions import ENOUGH, OTHER_MODULES, five_sentences
from tdn.book.lengths import still_gain
from tdn.book.lines import train_or_load
from tdn.experiments.profiles import get_profile
from tdn.experiments.tables import TABLES
from tdn.utils import CHECKOUT

FUSED = "temporal convolution on stacked differences"
RECORD, GESTURES = get_profile("record"), get_profile("record/gestures")


@pytest.fixture(scope="module")
def measured():
    """Lines of the committed record, by table and row."""
    tables = {name: train_or_load(name, RECORD) for name in TABLES} | {"gestures": train_or_load("gestures", GESTURES)}
    return {(name, line.row.name): line for name, lines in tables.items() for line in lines}


def interval(measured, table, less, more, family=None):
    """Low and high end of the difference in points; skips where the record has too few seeds to say it."""
    pair = [measured[table, name].results for name in (less, more)]
    if min(map(len, pair)) < ENOUGH:
        pytest.skip(f"the record does not have {ENOUGH} seeds of {less} and {more} of {table} yet")
    error = intervals.seed_error(GESTURES if table == "gestures" else RECORD, family)
    if family:
        of = {of.name: of for of in intervals.families(RECORD)}[family]
        pair = [of.part(results) for results in pair]
    points, half, _ = intervals.difference(*pair, error)
    return points - half, points + half


def test_the_frames_between_tell(measured):
    pair = "temporal convolution", "TDN (both)"
    every, short = (sum(interval(measured, "short_vs_long", *pair, family)) / 2 for family in (None, "short"))
    assert interval(measured, "short_vs_long", *pair)[0] > 5.7 and short / 3 > 0.8 * every, "nearly all of it"
    for name in OTHER_MODULES:
        for result in measured["temporal_modules", name].results:
            low, high = (100 * of for of in intervals.wilson(result.metrics["groups"]["short"]["top1"], 960))
            assert low < 12.5 + 1.5 and high > 12.5 - 1.5, f"{name} stays at chance"


def test_the_subtraction_does_it(measured):
    assert interval(measured, "difference_operator", "S-TDM diff, L-TDM diff", "S-TDM concat, L-TDM diff")[1] < -0.9
    s_tdm = "S-TDM in stages 1-2"
    assert interval(measured, "controls", FUSED, s_tdm, "short")[0] <= 0, "not more than early fusion"
    assert interval(measured, "controls", FUSED, s_tdm, "order")[0] > 0, "it adds the frame"


def test_the_reach_of_l_tdm_is_not_used(measured):
    pair = "temporal convolution", "L-TDM in stages 3-5"
    assert interval(measured, "short_vs_long", *pair, "order")[1] < 3.3, "less than published"
    far, l_tdm = (f"{name}, 24 frames" for name in pair)
    assert interval(measured, "reach", far, l_tdm, "order")[1] < 10
    deeper, gaps = (f"temporal convolution{of}, 24 frames" for of in (", deeper", " with gaps"))
    assert interval(measured, "reach", far, gaps, "order")[0] > 40
    assert interval(measured, "reach", deeper, gaps, "order")[0] > 0, "of twice the blocks some seeds learn something"


def test_of_the_others_none_stands_out(measured):
    means = [[of.metrics["top1"] for of in measured["temporal_modules", name].results] for name in OTHER_MODULES]
    means = [100 * sum(of) / len(of) for of in means if of]
    assert not means or max(means) - min(means) < 3
    for more in ("PEM", "TD loss"):
        assert interval(measured, "tdrl_tim", "TIM", f"TIM + {more}")[1] < 2.3, "the published sizes are excluded"


def test_on_real_video_it_is_the_same(measured):
    assert interval(measured, "gestures", "temporal convolution", "TDN")[0] > 23.6, "and steeper"
    assert interval(measured, "gestures", "S-TDM", "TDN")[0] <= 0, "nothing for L-TDM"
    assert interval(measured, "gestures", FUSED, "TDN")[0] <= 0, "not more than early fusion"


def test_a_sentence_without_its_rows_says_so_and_the_others_stand():
    tables = {name: train_or_load(name, RECORD) for name in TABLES} | {"gestures": []}
    *others, last = five_sentences(tables, intervals.families(RECORD)).splitlines()
    assert last == "5. Not measured: TDN of gestures."
    one = {name: [dataclasses.replace(of, results=of.results[:1]) for of in lines] for name, lines in tables.items()}
    preliminary = five_sentences(one, intervals.families(RECORD)).splitlines()[:4]
    assert all(text.endswith(" *Preliminary: 1 seed of a row.*") for text in preliminary)
    assert all(re.match(rf"{n}\. (\*\*|Not measured: )", text) for n, text in enumerate(others, start=1))


def test_what_the_former_rule_for_verdicts_would_withhold():
    """Notebook 13 says it: claims of a network that is not trained to the end, each pair of networks once."""
    claims = {}
    for name, table in TABLES.items():
        if not name.startswith("tdrl"):
            lines = train_or_load(name, RECORD)
            gains = still_gain(lines)
            for less, more, *_ in report._pairs(table, lines):
                claims[less.results[0].folder, more.results[0].folder] = bool({less.row.name, more.row.name} & {*gains})
    (notebook,) = CHECKOUT.glob("notebooks/13_*.ipynb")
    assert f"{sum(claims.values())} of TDN's {len(claims)}.)" in notebook.read_text("utf-8")

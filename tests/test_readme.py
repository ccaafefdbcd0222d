"""README works as written: its commands, its library example, its links, its numbers."""

import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.reference import released_weights

from tdn.__main__ import command_line
from tdn.book.intervals import CONTRADICTED, INCONCLUSIVE, SMALLER, SUPPORTED, UNTRAINED
from tdn.data.pocket import render
from tdn.experiments.profiles import get_profile
from tdn.experiments.registry import all_runs, with_pretrained
from tdn.experiments.runs import stored

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text("utf-8")
RECORD = CHECKOUT / "results/record/tables"
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def test_length_and_links():
    assert len(README.splitlines()) <= 155
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (CHECKOUT / target).exists(), target
    for folder in re.findall(r"`((?:tdn|tests|results)/[\w/]*)`", README):
        assert (CHECKOUT / folder).exists() or folder.split("/")[1] in ("lab", "smoke", "pocket"), folder
    assert len(re.findall(r"\(notebooks/(\d\d_\w+)\.ipynb\)", README)) >= len(list(CHECKOUT.glob("notebooks/*.ipynb")))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one(line):
    words = shlex.split(line)
    if words[0] == "make":  # what it would do
        done = subprocess.run([words[0], "--dry-run", *words[1:]], cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "source":
        assert words[1] == ".venv/bin/activate"
    elif words == ["tdn", "--help"]:
        assert "usage: tdn COMMAND" in command_line(None).format_help()
    else:
        if words[0] == "torchrun":
            words = words[words.index("-m") + 1 :]
        assert words[0] == "tdn"
        assert command_line(words[1]).parse_args(words[1:]).command == words[1]  # SystemExit for what is not valid


@pytest.mark.slow
def test_the_library_example_runs(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    torch.save({"state_dict": released_weights("resnet50", "module.")}, tmp_path / "best.pth.tar")
    render.encode(tmp_path / "video.mp4", render.render_clip(8, 3))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    assert all(hasattr(names["maps"], field) for field in re.findall(r"\bmaps\.(\w+)", example))
    assert names["scores"].shape == (174,) and names["maps"].maps.shape == (8, 224, 224)
    assert round(names["tdn"].measure_cost(names["model"]).gmacs, 1) == 35.6 and "35.6" in example


def test_numbers_are_those_of_the_record():
    text = " ".join(README.split())
    assert f"# {len(with_pretrained(all_runs(get_profile('pocket'))))} networks, all tables" in text
    networks = "TDN gets {:.1f} % right there, S-TDM alone {:.1f}, the temporal convolution {:.1f}, TSN {:.1f}"
    rows = "TDN (both)", "S-TDM in stages 1-2", "temporal convolution", "TSN"
    top1 = pd.read_csv(RECORD / "short_vs_long.csv").set_index("network")["measured top-1"]
    assert networks.format(*top1[list(rows)]) in text
    of_real = pd.read_csv(RECORD.parent / "gestures/tables/gestures.csv").set_index("network")["measured top-1"]
    real = "ten gestures the same designs get {:.1f}, {:.1f}, {:.1f} and {:.1f} % of 99 others"
    assert real.format(*of_real[["TDN", "S-TDM", "temporal convolution", "TSN"]]) in text
    record = get_profile("record")
    (full,) = (row for row in record.tables["short_vs_long"].rows if row.name == "TDN (both)")
    run = record.runs(full, record.tables["short_vs_long"])[0]
    assert f"TDN's is `results/record/weights/{run.name}.pt`" in README
    for said, profile in ("The record has {} of {} networks", "record"), ("the gestures' {} of {}", "record/gestures"):
        results = [stored(config, get_profile(profile).results) for config in all_runs(get_profile(profile))]
        assert said.format(sum(result.complete for result in results), len(results)) in text
    claims = "of {} claims of {}'s tables {} are supported, {} contradicted, {} smaller than published, "
    claims += "{} inconclusive, {} without verdict"
    for name, paper in (("", "TDN"), ("_tdrl", "TDRL")):
        verdicts = pd.read_csv(RECORD / f"overview_claims{name}.csv")["after Holm"].value_counts()
        found = verdicts.reindex([SUPPORTED, CONTRADICTED, SMALLER, INCONCLUSIVE, UNTRAINED], fill_value=0)
        assert found.sum() == verdicts.sum(), "README names every verdict"
        assert claims.format(found.sum(), paper, *found) in text

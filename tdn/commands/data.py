"""List the data sets and where they lie. `tdn data check NAME` tries to read every video of one."""

import argparse
from pathlib import Path

import torch

from tdn.commands.options import add_reader, positive
from tdn.data.disk import check
from tdn.data.disk.catalog import PUBLISHED, configured, dataset_named, location
from tdn.utils import home

EXAMPLES = """\
examples:
  tdn data                  list the data sets
  tdn data check ssv1       check a data set; says how to get one that is not there
  tdn data check ./mine     check a folder of your own videos"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=lambda options: print(_listed()))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="tdn data")
    what = "try the first and the last frame of every video, and keep the outcome in an index"
    one = commands.add_parser("check", help=what, description=f"{what.capitalize()}.")
    one.add_argument("dataset", help="its name, or the path of its folder (./mine, /data/mine)")
    one.add_argument("--split", type=positive, default=1, help="of the three official splits of ucf101 and hmdb51")
    add_reader(one)
    one.set_defaults(run=_check, interrupted="what was checked is kept, and the same command resumes from there")


def _check(options: argparse.Namespace) -> int:
    """Status 1 where a video is not readable."""
    spec = dataset_named(options.dataset, options.split)
    root, file, workers = location(spec.name), spec.index_file(home() / ".data"), torch.get_num_threads()
    print(f"reading the annotation of {spec.name} in {root}", flush=True)
    labelled, fingerprint = spec.labelled(), spec.fingerprint()
    print(
        f"trying the first and the last frame of {len(labelled.train):,} training and {len(labelled.val):,} validation "
        f"videos, with {workers} processes; videos found readable before, and not changed since, are not read again",
        flush=True,
    )
    checked = check.check(labelled, file, root, fingerprint, workers, options.reader)
    print(check.report(labelled, checked))
    print(f"index: {file}")
    return int(any(result.problem for result in checked.values()))


def _listed() -> str:
    """One line per data set: its name and where it lies."""
    known = configured()
    lines = ["data sets:"]
    for name in dict.fromkeys((*PUBLISHED, *known)):
        where = "not configured"
        if name in known:
            path, source = known[name]
            where = f"{path} ({source}){'' if Path(path).is_dir() else ', which is no folder'}"
        lines.append(f"  {name:12}{where}")
    return "\n".join([*lines, "how to get and configure one: tdn data check NAME"])

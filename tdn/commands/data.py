"""`tdn data`: which data sets there are, and whether their videos can be read."""

import argparse
import sys
from pathlib import Path

import torch

from tdn.data.disk import check as index
from tdn.data.disk.catalog import PUBLISHED, configured, dataset_named, location
from tdn.utils import home


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 where all is readable, 1 where something is not, 2 where nothing could be checked, 130 for
    Ctrl-C."""
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    parser = argparse.ArgumentParser(
        "tdn data", description=__doc__, epilog=_known(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    check = commands.add_parser("check", help="try the first and the last frame of every video, and note the outcome")
    check.add_argument("dataset", help="its name, or the path of its folder (./mine, /data/mine)")
    check.add_argument("--split", type=int, default=1, help="of the three official splits of ucf101 and hmdb51")
    options = parser.parse_args(arguments)
    if not options.command:
        parser.print_help()
        return 0
    try:
        return _check(options.dataset, options.split)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was checked is kept, and the same command goes on from there", file=sys.stderr)
        return 130


def _check(dataset: str, split: int) -> int:
    spec = dataset_named(dataset, split)
    root, file, workers = location(spec.name), spec.index_file(home() / ".data"), torch.get_num_threads()
    print(f"reading the annotation of {spec.name} in {root}", flush=True)
    labelled, fingerprint = spec.labelled(), spec.fingerprint()
    print(
        f"trying the first and the last frame of {len(labelled.train):,} training and {len(labelled.val):,} validation "
        f"videos, with {workers} processes; videos found readable before, and not changed since, are not read again",
        flush=True,
    )
    checked = index.check(labelled, file, root, fingerprint, workers)
    print(index.report(labelled, checked))
    print(f"index: {file}")
    return int(any(result.problem for result in checked.values()))


def _known() -> str:
    """A line for each data set: its name and where it lies."""
    try:
        known = configured()
    except OSError as error:
        return str(error)
    lines = ["data sets:"]
    for name in dict.fromkeys((*PUBLISHED, *known)):
        if name in known:
            path, source = known[name]
            where = f"{path} ({source}){'' if Path(path).is_dir() else ', which is no folder'}"
        else:
            where = "not configured"
        lines.append(f"  {name:12}{where}")
    lines.append("what to do for one that is not configured: tdn data check NAME")
    return "\n".join(lines)

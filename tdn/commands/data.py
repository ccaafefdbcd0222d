"""`tdn data`: the data sets and where they lie; `tdn data check`: whether their videos can be read."""

import argparse
from pathlib import Path

import torch

from tdn.data.disk.catalog import PUBLISHED, configured, dataset_named, location
from tdn.data.disk.check import check_videos, report
from tdn.data.disk.lists import printable
from tdn.utils import home


def run(options: argparse.Namespace) -> int:
    if options.action == "check":
        return _check(options)
    known = configured()
    print("data sets:")
    for name in dict.fromkeys((*PUBLISHED, *known)):
        where = "not configured"
        if name in known:
            path, source = known[name]
            where = f"{path} ({source}){'' if Path(path).is_dir() else ', which is no folder'}"
        print(f"  {name:12}{where}")
    print("how to get and configure one: tdn data check NAME")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Status 1 where a video is not readable."""
    spec = dataset_named(options.dataset, options.split)
    root, file, workers = location(spec.name), spec.index_file(home() / ".data"), torch.get_num_threads()
    print(printable(f"reading the annotation of {spec.name} in {root}", 10_000), flush=True)
    labelled, fingerprint = spec.labelled(), spec.fingerprint()
    print(
        f"trying the first and the last frame of {len(labelled.train):,} training and {len(labelled.val):,} validation "
        f"videos, with {workers} processes; videos found readable before, and not changed since, are not read again",
        flush=True,
    )
    checked = check_videos(labelled, file, root, fingerprint, workers, options.reader)
    print(report(labelled, checked))
    print(f"index: {file}")
    return int(any(result.problem for result in checked.values()))

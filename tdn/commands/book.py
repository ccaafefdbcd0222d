"""`tdn book execute` and `tdn book pages`: execute the notebooks, make a static site of them."""

import argparse

from tdn.book.pages import make_pages
from tdn.book.runner import execute, select
from tdn.experiments.profiles import get_profile
from tdn.experiments.queue import default_jobs
from tdn.experiments.registry import all_runs, plan
from tdn.utils import CHECKOUT

NOTEBOOKS = CHECKOUT / "notebooks"


def run(options: argparse.Namespace) -> None:
    profile = get_profile(options.profile)
    results = profile.results
    if options.action == "pages":
        about = f"Results of the profile *{profile.name}*; `make reproduce PROFILE={profile.name}` makes them."
        pages = make_pages(results / "notebooks", NOTEBOOKS, results / "book", about)
        print(f"{len(pages)} pages; open {pages[0]}")
        return
    paths = select(NOTEBOOKS, options.notebook)
    # A notebook whose runs are missing trains as many at a time as there are cores.
    jobs = options.jobs or (1 if plan(all_runs(profile), results).to_do else default_jobs())
    print(f"notebooks: {len(paths)}, profile {profile.name}, {jobs} at a time; copies: {results}/notebooks")
    print(execute(paths, results, {"profile": profile.name}, NOTEBOOKS.parent, jobs))

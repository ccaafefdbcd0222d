"""Execute the notebooks at one scale, or make a static site of what was executed."""

import argparse

from tdn.book.pages import make_pages
from tdn.book.runner import execute, select
from tdn.commands.options import positive
from tdn.experiments.profiles import get_profile
from tdn.experiments.queue import default_jobs
from tdn.experiments.registry import all_runs, plan
from tdn.utils import CHECKOUT

EXAMPLES = """\
examples:
  tdn book execute --profile smoke          every notebook, in minutes
  tdn book execute --notebook 3 8           two of them, at the default scale
  tdn book pages --profile smoke            their pages, in results/smoke/book"""
NOTEBOOKS = CHECKOUT / "notebooks"


def add_options(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="tdn book", required=True)
    for run, what in ((_execute, "execute the notebooks"), (_pages, "make a site of the executed notebooks")):
        one = commands.add_parser(run.__name__[1:], help=what, description=f"{what.capitalize()}.")
        one.add_argument("--profile", default="pocket", help="scale: smoke, pocket or paper (default: %(default)s)")
        if run is _execute:
            one.add_argument("--notebook", nargs="+", metavar="NUMBER", help="only these (default: all)")
            one.add_argument("--jobs", type=positive, help="notebooks at a time (default: 1 while runs are missing)")
        one.set_defaults(run=run, interrupted="notebooks that ran to their end keep their copies")


def _execute(options: argparse.Namespace) -> None:
    profile = get_profile(options.profile)
    paths = select(NOTEBOOKS, options.notebook)
    # A notebook whose runs are missing trains as many at a time as there are cores.
    jobs = options.jobs or (1 if plan(all_runs(profile), profile.results).to_do else default_jobs())
    print(f"notebooks: {len(paths)}, profile {profile.name}, {jobs} at a time; copies: {profile.results}/notebooks")
    print(execute(paths, profile.results, {"profile": profile.name}, NOTEBOOKS.parent, jobs))


def _pages(options: argparse.Namespace) -> None:
    profile = get_profile(options.profile)
    about = f"Results of the profile *{profile.name}*; `make reproduce PROFILE={profile.name}` makes them."
    pages = make_pages(profile.results / "notebooks", NOTEBOOKS, profile.results / "book", about)
    print(f"{len(pages)} pages; open {pages[0]}")

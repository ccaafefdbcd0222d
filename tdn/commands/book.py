"""`tdn book`: execute the notebooks, make a static site of them; compare a study with the record, or keep it as one."""

import argparse

from tdn.book.pages import make_pages
from tdn.book.printed_costs import all_asked
from tdn.book.reproduction import compare, reproduced, summary
from tdn.book.runner import execute, select
from tdn.experiments.profiles import get_profile, weights_of
from tdn.experiments.queue import default_jobs
from tdn.experiments.record import RECORD, pack
from tdn.experiments.registry import all_runs, plan
from tdn.experiments.runs import stored
from tdn.model.zoo import keep_costs
from tdn.utils import CHECKOUT

NOTEBOOKS = CHECKOUT / "notebooks"


def run(options: argparse.Namespace) -> int:
    """The exit status: 1 where a comparison finds more rows outside than chance explains."""
    profile = get_profile(options.profile)
    results = profile.output
    if options.action == "costs":
        keep_costs(all_asked())
        return 0
    if options.action == "record":
        runs = [stored(config, profile.results) for config in all_runs(profile)]
        kept = [result for result in runs if result.complete]
        if not kept:
            raise ValueError(f"no complete run to keep: train them first, tdn train --profile {profile.argument}")
        with_weights = [stored(config, profile.results) for config in weights_of(profile)]
        pack(profile.results, kept, [result for result in with_weights if result.complete])
        print(f"{len(kept)} of {len(runs)} runs: {profile.results / RECORD}")
        return 0
    if options.action == "compare":
        rows, verdicts = compare(profile, get_profile("record"))
        print(summary(rows, verdicts, profile), f"tables and figure: {results}, as reproduction", sep="\n")
        return 0 if reproduced(rows) else 1
    if options.action == "pages":
        made_by = (
            "`make book`, of what is committed," if profile.is_record else f"`make reproduce PROFILE={profile.name}`"
        )
        about = f"Results of the profile *{profile.name}*; {made_by} makes them."
        pages = make_pages(results / "notebooks", NOTEBOOKS, results / "book", about)
        print(f"{len(pages)} pages; open {pages[0]}")
        return 0
    paths = select(NOTEBOOKS, options.notebook or profile.notebooks or None)
    # A notebook whose runs are missing trains as many at a time as there are cores.
    trains = profile.trains_in_notebooks and plan(all_runs(profile), profile.results).to_do
    jobs = options.jobs or (1 if trains else default_jobs())
    print(f"notebooks: {len(paths)}, profile {profile.argument}, {jobs} at a time; copies: {results}/notebooks")
    print(execute(paths, results, {"profile": profile.argument}, NOTEBOOKS.parent, jobs))
    return 0

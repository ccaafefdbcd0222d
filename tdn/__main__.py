"""`tdn COMMAND ...`, also `python -m tdn COMMAND ...` and `torchrun ... -m tdn COMMAND ...`."""

import argparse
import importlib
import inspect
import os
import select
import sys
import textwrap
import warnings
from collections.abc import Sequence

from tdn.commands import options as all_options
from tdn.utils import DISK_ERRORS, DISK_REMEDY

COMMANDS = {
    "train": "train the study, or one network on your videos",
    "evaluate": "accuracy of a weights file on a data set; ensembles of scores",
    "predict": "the likeliest classes of videos",
    "cam": "where a network looks in a video, as pictures",
    "export": "a trained network as a file that runs without tdn",
    "data": "list the data sets; check that their videos can be read",
    "bench": "measure reading, memory and the running time of networks",
    "book": "execute the notebooks; make a static site of them",
}
MOST_USED = """\
most used:
  tdn predict VIDEO --weights FILE             what happens in a video
  tdn cam VIDEO --weights FILE --frames all    where the network looks
  tdn train FOLDER                             train on your own videos

`tdn COMMAND --help` shows the options of a command, with examples."""
ASKED_WRONGLY = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line."""

    def print_help(self) -> None:
        super().print_help()
        sys.stdout.flush()  # raises in `main`, not at the end of Python

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def command_line(command: str | None) -> Parser:
    """The parser of `tdn`, with the options of `command`."""
    raw = argparse.RawDescriptionHelpFormatter
    what = "Temporal Difference Networks: the networks, and the study book about them."
    parser = Parser("tdn", usage="tdn COMMAND ...", description=what, epilog=MOST_USED, formatter_class=raw)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog="tdn", required=True)
    for name, about in COMMANDS.items():
        one = commands.add_parser(name, help=about, formatter_class=raw)
        if name == command:
            add_options = getattr(all_options, f"{name}_options")
            one.description = f"{about.capitalize()}."
            one.epilog = "examples:\n" + textwrap.indent(inspect.getdoc(add_options), "  ")
            add_options(one)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 for what failed, 2 for what was asked wrongly, 130 for Ctrl-C, 141 where nobody reads the
    output. Such an error is one line on stderr (the last none); any other is a defect of tdn and shows its traceback.

    Raises SystemExit where argparse ends the program: for --help and for options that are not valid.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = argparse.Namespace(interrupted="what was finished is kept")
    try:
        command_line(arguments[0] if arguments else None).parse_args(arguments, options)
        status = _run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        answer, status = f"interrupted; {options.interrupted}", 130
    except ASKED_WRONGLY as error:
        answer, status = error, 2
    except ImportError as error:
        remedy = "" if "pip install" in str(error) else " (pip install 'tdn[book]' brings what the study book needs)"
        answer, status = f"{error}{remedy}", 1
    except (OSError, RuntimeError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError) and _silenced():  # else it is the pipe of a worker
            return 141  # as of a program that SIGPIPE ends
        answer, status = error, 1
        if getattr(error, "errno", None) in DISK_ERRORS and DISK_REMEDY not in str(error):
            answer = f"{error}; {DISK_REMEDY}"
    _silenced()
    print(f"tdn {' '.join(arguments[:1])}: {answer}", file=sys.stderr)
    return status


def _silenced() -> bool:
    """Whether nobody reads stdout any more, as of `tdn data | head -1`; then Python may not write what is left."""
    poller = select.poll()
    poller.register(1, 0)
    if gone := any(event & select.POLLERR for _, event in poller.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return gone


def _run(options: argparse.Namespace) -> int:
    # Here, as they import torch, which takes seconds: --help needs none of it.
    from torch.distributed.elastic.multiprocessing.errors import record

    from tdn.data.video import VideoError

    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    warnings.formatwarning = lambda message, *_, **__: f"tdn: {message}\n"  # without the line of code
    run = importlib.import_module(f"tdn.commands.{options.command}").run
    try:
        # torchrun shows the error that `record` writes to this file.
        return (record(run) if "TORCHELASTIC_ERROR_FILE" in os.environ else run)(options) or 0
    except VideoError as error:
        raise RuntimeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())

"""`tdn COMMAND ...`, `python -m tdn COMMAND ...`, `torchrun ... -m tdn COMMAND ...`."""

import importlib
import sys

COMMANDS = ("train", "evaluate", "predict", "cam", "data", "bench", "book", "pages")


def main(arguments: list[str] | None = None) -> int:
    command, *rest = sys.argv[1:] if arguments is None else arguments
    return importlib.import_module(f"tdn.commands.{command}").main(rest) or 0


if __name__ == "__main__":
    sys.exit(main())

"""What all commands share: help, the way from an error to an exit status; and the packages that they need."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest
from packaging.requirements import Requirement
from torch.distributed.run import get_args_parser

from tdn.__main__ import COMMANDS, command_line, main
from tdn.commands.bench import MEASUREMENTS
from tdn.data.video import VideoError
from tdn.engine.trainer import PRECISIONS
from tdn.maps.activation import METHODS

CHECKOUT = Path(__file__).parents[2]


def said(capsys, arguments):
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def options_of(command):
    return command_line(command)._subparsers._group_actions[0].choices[command]._actions


def test_help_imports_no_torch():
    code = f"""import sys, tdn.__main__
for command in {["", *COMMANDS]}:
    try: tdn.__main__.main([*command.split(), "--help"])
    except SystemExit: assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("command", ["", *COMMANDS, "data check", "book execute", "book pages", "book compare"])
def test_every_command_explains_itself(command, capsys):
    status, out, _ = said(capsys, [*command.split(), "--help"])
    assert status == 0 and out.startswith(f"usage: tdn {command}".strip())
    assert command not in COMMANDS or "examples:\n  tdn " in out
    if not command:
        assert len(out.splitlines()) <= 24 and all(f"  {name} " in out for name in COMMANDS), "it fits a screen"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_torchrun_takes_none_of_our_options_for_its_own(command):
    for action in filter(lambda action: action.option_strings, options_of(command)[1:]):
        arguments = ["--nproc-per-node", "8", "-m", "tdn", command, action.option_strings[-1], "value"]
        assert get_args_parser().parse_args(arguments).training_script_args == arguments[-3:]


def test_choices_are_those_of_the_package():
    """They are written as plain strings, for the help imports no torch."""
    choices = {action.dest: action.choices for name in ("train", "cam", "bench") for action in options_of(name)}
    for option, expected in (("method", METHODS), ("precision", PRECISIONS), ("measurement", MEASUREMENTS)):
        assert choices[option] == tuple(expected)


MISTAKES = [
    ("", "required: COMMAND"),
    ("trian", "invalid choice: 'trian' (choose from"),
    ("train /nonexist", "there is no folder /nonexist"),
    ("train ssv1 --table beyond", "--table goes with the study"),
    ("train --from record", "--from goes with a folder"),
    ("train ssv1 --recipe /nonexist/recipe.toml", "/nonexist/recipe.toml"),
    ("train --devices all", "1 or more"),
    ("train --table 1e", "short_vs_long"),
    ("train --jobs 0", "1 or more"),
    ("train ssv1 --profile smok", "--profile goes with the study"),
    ("train --runs tdn_resnet10-0123456789", "--list prints"),
    ("train --runs tdn_resnet10-0123456789 --shard 1/2", "without --shard"),
    ("train --shard 9/8", "i from 1 to n"),
    ("train --pretrained /nowhere/weights.pt", "no weights file at /nowhere/weights.pt"),
    ("evaluate --dataset ssv2", "--weights and --dataset are needed"),
    ("evaluate --weights /nowhere/weights.pt --dataset ssv2 --views 10*3", "clips x crops"),
    ("evaluate --ensemble /nowhere", "/nowhere/scores.npz"),
    ("predict clip.mp4", "required: --weights"),
    ("predict clip.mp4 --weights /nowhere/weights.pt", "no weights file at"),
    ("predict '' --weights weights.pt", "argument VIDEO: it is empty"),
    ("cam clip.mp4 --weights ''", "argument --weights: it is empty"),
    ("train ''", "argument FOLDER: it is empty"),
    ("cam clip.mp4 --weights /nowhere/weights.pt --method GradCamera", "GradCAM"),
    ("bench speed", "invalid choice: 'speed'"),
    ("book", "required: COMMAND"),
    ("book execute --profile smok", "did you mean smoke"),
    ("train --profile pocket:0", "the number of seeds of each row, as in pocket:5"),
    ("book compare --profile smoke", "compare the profile pocket"),
]


@pytest.mark.parametrize(("arguments", "reason"), MISTAKES, ids=[arguments for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_status_2(arguments, reason, home, capsys):
    status, _, err = said(capsys, shlex.split(arguments))
    assert status == 2 and reason in err and err.startswith("tdn")
    assert len(err.splitlines()) == 1 and "usage:" not in err


ERRORS = [(ValueError("no"), 2), (FileNotFoundError(2, "no"), 2), (PermissionError("no"), 1), (RuntimeError("no"), 1)]
ERRORS += [
    (OSError(30, "Read-only file system", "/results"), 1),
    (VideoError("clip.mp4", "no"), 1),
    (ImportError("no"), 1),
    (FloatingPointError("no"), 1),
    (KeyboardInterrupt(), 130),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=repr)
@pytest.mark.parametrize("command", ["train", "data"])
def test_errors_end_every_command_alike(command, error, status, monkeypatch, capsys):
    monkeypatch.setattr(f"tdn.commands.{command}.run", Mock(side_effect=error))
    found, _, err = said(capsys, [command])
    assert found == status and err.startswith(f"tdn {command}: ") and len(err.splitlines()) == 1
    monkeypatch.setattr(f"tdn.commands.{command}.run", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):  # a defect of tdn shows where it is
        main([command])


@pytest.mark.parametrize(("argument", "unbuffered"), [("--help", ""), ("data", ""), ("data", "1")])
def test_output_that_nobody_reads_ends_the_command_quietly(argument, unbuffered, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"TDN_HOME": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "tdn", argument]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_torchrun_shows_the_error_of_a_worker(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tdn"]
    environment = {"TDN_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    torchrun += ["train", "/nonexist"]
    done = subprocess.run(torchrun, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and done.stderr.count("there is no folder /nonexist") >= 3, "both, and torchrun"


def test_every_dependency_is_declared_and_pinned():
    pins = dict(re.findall(r"^ *- ([\w.-]+)==(\S+)", (CHECKOUT / "environment.yml").read_text(), re.MULTILINE))
    content = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    lists = [content["project"]["dependencies"], content["build-system"]["requires"]]
    lists += content["project"]["optional-dependencies"].values()
    declared = [Requirement(text) for of_one in lists for text in of_one]
    requirements = {requirement.name: requirement for requirement in declared}
    assert len(requirements) == len(declared) and requirements.keys() == pins.keys()
    for name, version in pins.items():
        specifier = requirements[name].specifier
        assert ">=" in {one.operator for one in specifier} and version in specifier, name

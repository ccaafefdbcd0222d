"""What a result was made with."""

import platform
import subprocess
from typing import Any

import numpy as np
import torch
import torchvision

from tdn.utils import CHECKOUT


def environment() -> dict[str, Any]:
    """Commit, versions and device of this process."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "commit": _commit(),
        "device": gpu or f"CPU, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }


def _commit() -> str:
    """The commit of this checkout, marked where files under version control differ from it."""
    git = ["git", "-C", str(CHECKOUT)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], stderr=subprocess.DEVNULL, text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno", "tdn"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return f"{commit} with uncommitted changes in tdn/" if changed else commit

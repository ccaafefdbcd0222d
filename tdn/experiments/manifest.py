"""What a result was made with."""

import platform
import subprocess
from typing import Any

import numpy as np
import torch
import torchvision

from tdn.utils import CHECKOUT


def environment() -> dict[str, Any]:
    """Commit (marked where files of tdn/ differ from it), versions and device of this process."""
    git = ["git", "-C", str(CHECKOUT)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], stderr=subprocess.DEVNULL, text=True).strip()
        if subprocess.check_output([*git, "status", "--porcelain", "-uno", "tdn"], text=True).strip():
            commit += " with uncommitted changes in tdn/"
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown: not a git checkout"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__}
    device = gpu or f"CPU, {torch.get_num_threads()} threads"
    return {"commit": commit, "device": device, "python": platform.python_version(), **versions}

"""What a result was made with."""

import importlib.metadata
import os
import platform
import subprocess
from typing import Any

import torch

from tdn.engine.distributed import device
from tdn.utils import CHECKOUT


def environment() -> dict[str, Any]:
    """Commit (marked where files of tdn/ differ from it; of a copy without history what `GIT_COMMIT` in the environment
    says), versions and device of this process; of a GPU also whether float32 is computed as TF32."""
    git = ["git", "-C", str(CHECKOUT)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], stderr=subprocess.DEVNULL, text=True).strip()
        if subprocess.check_output([*git, "status", "--porcelain", "-uno", "tdn"], text=True).strip():
            commit += " with uncommitted changes in tdn/"
    except (OSError, subprocess.CalledProcessError):
        commit = os.environ.get("GIT_COMMIT") or "unknown: not a git checkout"
    versions = {"torch": torch.__version__} | {of: importlib.metadata.version(of) for of in ("torchvision", "numpy")}
    about = {"commit": commit, "device": f"CPU, {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        about["device"] = torch.cuda.get_device_name(device())
        versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        of_float32 = {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        }
        versions["tf32"] = ", ".join(name for name, allowed in of_float32.items() if allowed) or "off"
    return about | {"python": platform.python_version(), **versions}

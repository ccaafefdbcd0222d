"""Checkpoints of a training that show when they were damaged."""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch


class _Hashed(NamedTuple):
    """A file that is written, and the digest of what was."""

    file: BinaryIO
    digest: "hashlib._Hash"

    def write(self, part: bytes) -> int:
        self.digest.update(part)
        return self.file.write(part)

    def flush(self) -> None:
        self.file.flush()


def save(state: dict[str, Any], file: BinaryIO) -> None:
    """A checkpoint: a file of torch, and behind its end the sha256 of it, 32 bytes."""
    hashed = _Hashed(file, hashlib.sha256())
    torch.save(state, hashed)
    file.write(hashed.digest.digest())


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote. Raises ValueError where the digest is not that of the bytes before it."""
    content = memoryview(path.read_bytes())
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise ValueError(
            f"{path} is damaged, or of an earlier version: remove it, and the same command trains from the start"
        )
    return torch.load(path, "cpu", weights_only=True)

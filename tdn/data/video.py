"""Frames of video files, read through PyAV or decord, of folders of images, and of tensors: open, choose, read.

`frames.py` has what an open video can do; each reader has its file.
"""

from os import PathLike
from pathlib import Path

from tdn.data.decord_reader import DecordReader
from tdn.data.folder_reader import IMAGE_SUFFIXES, FolderReader
from tdn.data.frames import CropSlices, TensorVideo, VideoError, VideoReader, in_time
from tdn.data.pyav_reader import PyAVReader
from tdn.utils import unknown_name

__all__ = ["IMAGE_SUFFIXES", "CropSlices", "TensorVideo", "VideoError", "VideoReader", "open_video"]


def open_video(path: str | PathLike, reader: str = "pyav") -> VideoReader:
    """Opens a video file, or a folder that holds frames as JPEG or PNG files in the order of their numbers.

    The frames are those that FFmpeg shows (`pyav_reader.py`). `reader`, for files, is "pyav" or "decord" (else
    ValueError; ImportError where decord is not installed). A decoder that hangs is given up after `frames.SECONDS`,
    with its thread, its open file and its memory: nothing can stop it but the end of the process, which it does not
    delay.

    Raises VideoError where the file can't be opened in time, is no whole video, its first frame can't be decoded, or 40
    of its frames would take more than 4 GB (or, if set, than `TDN_VIDEO_GB` in the environment says).
    """
    readers = {"pyav": PyAVReader, "decord": DecordReader}
    if reader not in readers:
        raise ValueError(unknown_name("reader", reader, readers))
    path = Path(path)
    if "\0" in str(path):
        raise VideoError(path, "no file has a NUL character in its name")
    is_folder, size = in_time(path, lambda: (path.is_dir(), path.stat().st_size))
    if size == 0 and not is_folder:
        raise VideoError(path, "empty file")
    return FolderReader(path) if is_folder else readers[reader](path)

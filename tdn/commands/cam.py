"""`tdn cam`: class activation maps of a video, as a strip of frames, an animation, and json."""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from tdn.engine.inference import load_network, top_classes
from tdn.maps.activation import cam, default_layer
from tdn.maps.lettering import drawable, fitted
from tdn.maps.pictures import save_animation, save_strip
from tdn.utils import one_line, write_text


def run(options: argparse.Namespace) -> None:
    if options.output.exists() and not options.output.is_dir():
        raise NotADirectoryError(f"{options.output} is no folder")
    model, _, names, views = load_network(options.weights, options.segments, options.classes, options.size)
    target = None if options.target is None else _class(options.target, names)
    layer = options.layer or default_layer(model, views.size)
    maps = cam(model, options.video, options.frames, target, layer, options.method, views, options.reader)
    explained, likeliest = names[maps.target], top_classes(maps.scores, names)
    matplotlib.use("Agg")  # no window
    path = Path(options.video).absolute()
    base = _free_base(options.output, path)
    files = [base.with_name(base.name + ending) for ending in (".png", ".gif", ".json")]
    video = path.name.encode(errors="backslashreplace").decode()  # it need not be UTF-8
    shown = fitted(drawable(video, "video"), 2, 10), drawable(explained, f"class {maps.target}")
    save_strip(maps, files[0], f"{shown[0]}: {options.method} of {shown[1]}")
    save_animation(maps, files[1])
    about = {"video": video, "path": str(path), "weights": options.weights.name, "method": options.method}
    about |= {"layer": layer, "explained": explained, "segments": maps.segments, "of": maps.num_segments}
    about["CAM energy"] = [round(fraction, 4) for fraction in maps.energy.tolist()]
    about["top"] = [answer._asdict() for answer in likeliest]
    write_text(files[2], json.dumps(about, indent=1))
    if not maps.peak:
        print(f"tdn cam: these frames hold no evidence for {explained!r}: the maps are zero", file=sys.stderr)
    for name, probability in likeliest:
        print(f"{100 * probability:5.1f} %  {one_line(name)}")
    print(f"maps of {explained!r} in {layer}: {', '.join(map(str, files))}")


def _free_base(folder: Path, video: Path) -> Path:
    """`<stem of the video>_cam` in the folder, with a number where that is kept for another video of this name."""
    stem = video.stem
    while len(os.fsencode(stem)) > 200:  # file systems take 255 bytes
        stem = stem[:-1]
    for number in itertools.count(1):
        base = folder / (f"{stem}_cam" if number == 1 else f"{stem}_cam_{number}")
        try:
            about = json.loads(base.with_name(f"{base.name}.json").read_bytes())
        except FileNotFoundError:
            return base
        except ValueError:  # not ours, or damaged
            continue
        if isinstance(about, dict) and about.get("path") == str(video):
            return base


def _class(text: str, names: Sequence[str]) -> int:
    """The index of a class given by its name or number. Raises ValueError where there is none."""
    if text in names:
        return names.index(text)
    if text.isdecimal():
        return int(text)
    raise ValueError(f"no class is called {text!r}; the first of {len(names)} is {names[0]!r}")

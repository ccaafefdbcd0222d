"""Write class activation maps of a video: a strip of frames, an animation, and what they show as json."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from tdn.commands.options import add_network, add_reader, network
from tdn.engine.inference import top_classes
from tdn.maps.activation import METHODS, cam, default_layer
from tdn.maps.pictures import save_animation, save_strip
from tdn.utils import write_text

EXAMPLES = """\
examples:
  tdn cam clip.mp4 --weights weights.pt
  tdn cam clip.mp4 --weights weights.pt --frames all --target "Opening a book" -o maps
  tdn cam clip.mp4 --weights released.pth.tar --segments 8 --layer stage4 --method GradCAM++"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("video", metavar="VIDEO", help="a video file, or a folder of JPEG or PNG frames")
    add("-o", "--output", type=Path, default=Path("out"), metavar="FOLDER", help="default: %(default)s")
    add_reader(parser)
    add = parser.add_argument_group("the maps").add_argument
    add("--frames", default="center", choices=("center", "all"), help="of which segments (default: %(default)s)")
    add("--target", metavar="CLASS", help="number or name of the class to explain (default: the likeliest)")
    add("--layer", help="stage1 to stage5, or a module between (default: the last with 6 x 6 features or more)")
    add("--method", default="GradCAM", choices=METHODS, help="default: %(default)s")
    add_network(parser)
    parser.set_defaults(run=run, interrupted="no half of a file was written")


def run(options: argparse.Namespace) -> None:
    if options.output.exists() and not options.output.is_dir():
        raise NotADirectoryError(f"{options.output} is no folder")
    loaded = network(options)
    model, names, views = loaded.model, loaded.class_names, loaded.views
    target = None if options.target is None else _class(options.target, names)
    layer = options.layer or default_layer(model, views.size)
    maps = cam(model, options.video, options.frames, target, layer, options.method, views, options.reader)
    explained, likeliest = names[maps.target], top_classes(maps.scores, names)
    matplotlib.use("Agg")  # no window
    files = [options.output / f"{Path(options.video).stem}_cam{ending}" for ending in (".png", ".gif", ".json")]
    video = Path(options.video).name.encode(errors="backslashreplace").decode()  # it need not be UTF-8
    save_strip(maps, files[0], f"{video}: {options.method} of {explained}")
    save_animation(maps, files[1])
    about = {
        "video": video,
        "weights": options.weights.name,
        "method": options.method,
        "layer": layer,
        "explained": explained,
        "segments": maps.segments,
        "of": maps.num_segments,
        "CAM energy": [round(fraction, 4) for fraction in maps.energy.tolist()],
        "top": [answer._asdict() for answer in likeliest],
    }
    write_text(files[2], json.dumps(about, indent=1))
    if not maps.peak:
        print(f"tdn cam: these frames hold no evidence for {explained!r}: the maps are zero", file=sys.stderr)
    for name, probability in likeliest:
        print(f"{100 * probability:5.1f} %  {name}")
    print(f"maps of {explained!r} in {layer}: {', '.join(map(str, files))}")


def _class(text: str, names: Sequence[str]) -> int:
    """The index of a class given by its name or number. Raises ValueError where there is none."""
    if text in names:
        return names.index(text)
    if text.isdigit():
        return int(text)
    raise ValueError(f"no class is called {text!r}; the first of {len(names)} is {names[0]!r}")

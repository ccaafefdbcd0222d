"""`tdn cam VIDEO --weights FILE`: where a network looks in a video, as pictures."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from tdn.commands.options import from_options, network_options
from tdn.data.video import VideoError
from tdn.engine.inference import best
from tdn.maps.activation import METHODS, Maps, cam, default_layer
from tdn.maps.pictures import save_animation, save_strip
from tdn.utils import write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where the video could not be read, 2 where nothing could be done, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser("tdn cam", description=__doc__, parents=[network_options()])
    add = parser.add_argument
    add("video", metavar="VIDEO", help="a video file, or a folder of JPEG or PNG frames")
    add(
        "--frames",
        default="center",
        choices=("center", "all"),
        help="the frame in the middle, or all (default: center)",
    )
    add("--target", metavar="CLASS", help="number or name of the class to explain (default: the likeliest)")
    add("--layer", help="stage1 to stage5, or a module between (default: the last with 6 x 6 features or more)")
    add("--method", default="GradCAM", choices=METHODS, help="default: %(default)s")
    add("-o", "--output", type=Path, default=Path("out"), metavar="FOLDER", help="default: %(default)s")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    if options.output.exists() and not options.output.is_dir():
        parser.error(f"{options.output} is no folder")
    try:
        network = from_options(options)
        target = None if options.target is None else _class(options.target, network.class_names)
        layer = options.layer or default_layer(network.model, network.views.size)
        maps = cam(network.model, options.video, options.frames, target, layer, options.method, network.views)
        explained = network.class_names[maps.target]
        files = _write(maps, options, layer, explained, network.class_names)
    except VideoError as error:
        print(error, file=sys.stderr)
        return 1
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; no half of a file was written", file=sys.stderr)
        return 130
    if not maps.peak:
        print(f"nothing in these frames speaks for {explained!r}: the maps are zero", file=sys.stderr)
    for name, probability in best(maps.scores, network.class_names):
        print(f"{100 * probability:5.1f} %  {name}")
    print(f"maps of {explained!r} in {layer}: {', '.join(map(str, files))}")
    return 0


def _class(text: str, class_names: Sequence[str]) -> int:
    """Its number. Raises ValueError for a name that no class has."""
    if text in class_names:
        return class_names.index(text)
    if text.isdigit():
        return int(text)
    raise ValueError(f"no class is called {text!r}; the first of {len(class_names)} is {class_names[0]!r}")


def _write(
    maps: Maps, options: argparse.Namespace, layer: str, explained: str, class_names: Sequence[str]
) -> list[Path]:
    matplotlib.use("Agg")  # no window
    files = [options.output / f"{Path(options.video).stem}_cam{ending}" for ending in (".png", ".gif", ".json")]
    name = Path(options.video).name.encode(errors="backslashreplace").decode()  # it need not be UTF-8
    save_strip(maps, files[0], f"{name}: {options.method} of {explained}")
    save_animation(maps, files[1])
    about = {
        "video": name,
        "weights": options.weights.name,
        "method": options.method,
        "layer": layer,
        "explained": explained,
        "segments": maps.segments,
        "of": maps.num_segments,
        "share of the heat": [round(weight, 4) for weight in maps.weights.tolist()],
        "top": [answer._asdict() for answer in best(maps.scores, class_names)],
    }
    write_text(files[2], json.dumps(about, indent=1))
    return files

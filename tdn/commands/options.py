"""The options of every command; docstrings are the examples of its help. Imports no torch, which takes seconds."""

import argparse
from pathlib import Path

from tdn.data.disk.lists import class_names
from tdn.experiments.tables import COMPARISONS, MORE_TABLES, TABLES


def positive(text: str) -> int:
    """The type of an option that is a number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number, 1 or more, is needed; got {text}")
    return int(text)


def given(text: str) -> str:
    """The type of an option that is a path or a name: not empty, as a variable of the shell that is not set is."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def given_path(text: str) -> Path:
    return Path(given(text))


def devices(text: str) -> int | str:
    """The type of an option that is a number of devices, or cpu."""
    return text if text == "cpu" else positive(text)


def text_file(path: str) -> list[str]:
    """The type of an option that is a list of names of classes, as `class_names`."""
    try:
        return class_names(Path(path))
    except ValueError as error:  # of which argparse would keep but the path
        raise argparse.ArgumentTypeError(str(error)) from error


def add_reader(options: argparse._ActionsContainer) -> None:
    what = "what decodes video files (default: %(default)s)"
    options.add_argument("--reader", default="pyav", choices=("pyav", "decord"), help=what)


def add_precision(options: argparse._ActionsContainer, default: str | None) -> None:
    told = default or "bf16 where the device computes in it (CPUs with AVX512-BF16 or AMX, too), else fp32"
    options.add_argument("--precision", default=default, choices=("fp32", "bf16", "fp16"), help=f"default: {told}")


def add_profile(options: argparse._ActionsContainer) -> None:
    what = "scale: smoke, pocket, its record or paper; or gestures, record/gestures (default: %(default)s); "
    what += "pocket:5 is pocket with five seeds of each row"
    options.add_argument("--profile", default="pocket", metavar="NAME[:SEEDS]", help=what)


def add_network(parser: argparse.ArgumentParser, required: bool = True) -> argparse._ArgumentGroup:
    """The options of a trained network, as `load_network` takes them. `classes` is a list of names, or None."""
    options = parser.add_argument_group("the network")
    add = options.add_argument
    what = "weights of ours or of the authors, or the folder of results that a training on your videos made"
    add("--weights", type=given_path, required=required, metavar="FILE", help=what)
    add_not_in_file(options)
    return options


def add_not_in_file(options: argparse._ActionsContainer) -> None:
    """What a weights file may not hold, as `load_network` takes it."""
    add = options.add_argument
    add("--segments", type=positive, metavar="T", help="segments, where the file does not hold them: 8 or 16")
    what = "names of the classes, one per line, in the order of the outputs"
    add("--classes", type=text_file, metavar="FILE", help=what)
    add("--size", type=positive, metavar="PIXELS", help="side of the crop that the network sees")


def train_options(parser: argparse.ArgumentParser) -> None:
    """tdn train ./mine                                          a network on your videos, ./mine/<class>/<video>
    tdn train ./mine --compare                                is it motion that tells your classes apart?
    tdn train                                                 all of the pocket benchmark
    tdn train --profile paper --table temporal_modules --list what there is to train, with a command for each run
    torchrun --nproc-per-node 8 -m tdn train --profile paper  every run on 8 GPUs together

    On a cluster, with one folder (TDN_HOME) for all machines; small runs dealt to 8 of them, large ones on 2 together:
    sbatch --array=1-8 --wrap 'tdn train --shard $SLURM_ARRAY_TASK_ID/8'
    sbatch --nodes 2 --ntasks-per-node 1 --wrap 'srun torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d \
        --rdzv-endpoint $(hostname):29500 -m tdn train --profile paper'"""
    # No option may begin one of torchrun's, which would take it (`--run-path`, ...).
    own = parser.add_argument_group("your own videos (what is not chosen follows from their number and the device)")
    add = own.add_argument
    what = "a folder of your videos, or the name of a data set; without it, the study is trained"
    add("folder", nargs="?", type=given, metavar="FOLDER", help=what)
    what = "folder of the result (default: results/own/<name of FOLDER>)"
    add("--out", type=given_path, metavar="FOLDER", help=what)
    add("--recipe", type=given_path, metavar="FILE", help="recipe.toml of another result, for what is not chosen here")
    what = "also train TSN, a temporal convolution, S-TDM, a single frame and shuffled segments, with as many seeds"
    add("--compare", nargs="?", type=positive, const=3, metavar="SEEDS", help=f"{what} (default: %(const)s)")
    add("--model", metavar="NAME", help="tdn, tsn, tsm, tea, ... (default: tdn)")
    add("--depth", type=positive, help="layers of the ResNet (default: 10 from random weights, 18 or 50 from ImageNet)")
    add("--width", type=positive, help="channels of its stem (default: 24 from random weights, 64 from ImageNet)")
    add("--size", type=positive, metavar="PIXELS", help="side of the input (default: 96; from ImageNet 112, GPU 224)")
    add("--segments", type=positive, metavar="T", help="default: 8")
    add("--window-stride", type=positive, metavar="FRAMES", help="between the frames of a window (default: 1)")
    add("--epochs", type=positive, help="default: 10 to 60, fewer for more videos")
    add("--lr", type=float, help="learning rate (default: 0.002 for 16 clips; 0.0025 of SGD from ImageNet)")
    add("--batch", type=positive, help="clips in a step (default: 16)")
    add("--seed", type=int, help="default: 0")
    what = "scratch, record, imagenet or a weights file (default: scratch; imagenet on a GPU or from 1,000 videos on)"
    add("--from", dest="initialised_from", type=given, metavar="WEIGHTS", help=what)
    add("--patience", type=positive, metavar="EPOCHS", help="end after so many without a better validation top-1")
    what = "mirror half of the clips; left and right in names exchange classes, pairs A=B others (default: none)"
    add("--mirror", nargs="*", metavar="A=B", help=what)
    add("--tensorboard", action="store_true", help="write a log for it, into the folder of the result")
    study = parser.add_argument_group("the study")
    add_profile(study)
    add = study.add_argument
    tables = ", ".join([*TABLES, *COMPARISONS, "transfer", *MORE_TABLES])
    add("--table", nargs="+", default=[], help=f"only the runs of these: {tables}")
    add("--runs", nargs="+", default=[], help="only these runs and those they are initialised from, by name")
    add("--shard", default="1/1", metavar="I/N", help="every n-th of all runs, from the i-th on (1 to n)")
    add("--list", action="store_true", help="print the runs with their commands and train nothing")
    add("--pretrained", type=given_path, metavar="FILE", help="weights to initialise from, in place of the study's")
    computed = parser.add_argument_group("how it is computed")
    add = computed.add_argument
    add_precision(computed, None)
    add("--compile", action="store_true", help="networks by torch.compile")
    add("--device-batch", type=positive, help="clips on a device at once, where a micro-batch is too large for it")
    what = "runs at a time (default: 1 per core, up to 6 on each GPU, as the memory allows)"
    add("--jobs", type=positive, help=what)
    what = "how many processes train on FOLDER, each on its own GPU; or cpu: on no GPU (default: one, on the first GPU)"
    add("--devices", type=devices, metavar="N|cpu", help=what)
    add_reader(computed)
    parser.set_defaults(interrupted="the same command resumes from the last checkpoint")


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """tdn evaluate --weights weights.pt --dataset ssv1
    tdn evaluate --weights released.pth.tar --segments 8 --dataset k400 --views 1x1 10x3
    tdn evaluate --ensemble results/paper/runs/ssv1-...-8-... results/paper/runs/ssv1-...-16-...
    torchrun --nproc-per-node 8 -m tdn evaluate --weights weights.pt --dataset ssv1"""
    add_network(parser, required=False)
    add = parser.add_argument_group("the videos").add_argument
    add("--dataset", type=given, help="its name or folder, as tdn data lists them")
    add("--split", type=positive, default=1, help="of the official splits of ucf101 and hmdb51")
    add("--views", nargs="+", default=["1x1"], help="clips x crops, one or more (default: 1x1)")
    computed = parser.add_argument_group("how it is computed")
    add_reader(computed)
    add_precision(computed, "fp32")
    computed.add_argument("--batch", type=positive, default=16, help="views on a device at once (default: %(default)s)")
    add = parser.add_argument_group("in place of all this").add_argument
    add("--ensemble", nargs="+", type=given_path, metavar="SCORES", help="folders of kept scores to average")


def predict_options(parser: argparse.ArgumentParser) -> None:
    """tdn predict clip.mp4 --weights weights.pt
    tdn predict *.mp4 --weights weights.pt --views 10x3 --json
    tdn predict clip.mp4 --weights released.pth.tar --segments 8 --classes names.txt
    tdn predict long.mp4 --weights weights.pt --sliding 4 -o out"""
    add = parser.add_argument
    add("videos", nargs="+", type=given, metavar="VIDEO", help="video files, or folders of JPEG or PNG frames")
    add("--top", type=positive, default=5, help="number of classes to print (default: %(default)s)")
    add("--json", action="store_true", help="print json with the scores of all classes")
    add_reader(parser)
    add = parser.add_argument_group("a long video").add_argument
    what = "classify stretches of so many seconds, one after the other, of one video file"
    add("--sliding", type=float, metavar="SECONDS", help=what)
    what = "from the start of a stretch to that of the next (default: half a stretch)"
    add("--stride", type=float, metavar="SECONDS", help=what)
    what = "also write the stretches as csv, a timeline as png, and the video with its classes as mp4"
    add("-o", "--output", type=given_path, metavar="FOLDER", help=what)
    add_network(parser).add_argument("--views", help="clips x crops of a video, or of a stretch (default: 1x1)")


def cam_options(parser: argparse.ArgumentParser) -> None:
    """tdn cam clip.mp4 --weights weights.pt
    tdn cam clip.mp4 --weights weights.pt --frames all --target "Opening a book" -o maps
    tdn cam clip.mp4 --weights released.pth.tar --segments 8 --layer stage4 --method LayerCAM"""
    add = parser.add_argument
    add("video", type=given, metavar="VIDEO", help="a video file, or a folder of JPEG or PNG frames")
    add("-o", "--output", type=Path, default=Path("out"), metavar="FOLDER", help="default: %(default)s")
    add_reader(parser)
    add = parser.add_argument_group("the maps").add_argument
    add("--frames", default="center", choices=("center", "all"), help="of which segments (default: %(default)s)")
    add("--target", metavar="CLASS", help="number or name of the class to explain (default: the likeliest)")
    add("--layer", help="stage1 to stage5, or a module between (default: the last with 6 x 6 features or more)")
    methods = ("GradCAM", "HiResCAM", "GradCAMElementWise", "GradCAMPlusPlus", "XGradCAM", "LayerCAM")
    add("--method", default="GradCAM", choices=methods, help="default: %(default)s")
    add_network(parser)


def export_options(parser: argparse.ArgumentParser) -> None:
    """tdn export results/mine --onnx               model.onnx, model.json and stream.py into the folder
    tdn export weights.pt --torch-export -o ./out
    python results/mine/stream.py clip.mp4       runs the network on a video, or on a webcam: stream.py 0"""
    add = parser.add_argument
    what = "a weights file, or the folder of results that holds weights.pt"
    add("weights", type=given_path, metavar="WEIGHTS", help=what)
    formats = parser.add_mutually_exclusive_group(required=True)
    for name in ("onnx", "torch-export"):
        what = "model.onnx, and stream.py, which runs it" if name == "onnx" else "model.pt2, for torch.export.load"
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=what)
    what = "default: the folder of results; of a weights file, out"
    add("-o", "--output", type=given_path, metavar="FOLDER", help=what)
    add_not_in_file(parser.add_argument_group("the network"))


def data_options(parser: argparse.ArgumentParser) -> None:
    """tdn data                  list the data sets
    tdn data check ssv1       check a data set, or learn how to get it
    tdn data check ./mine     check a folder of your own videos"""
    commands = parser.add_subparsers(title="commands", dest="action", metavar="COMMAND", prog="tdn data")
    what = "try the first and the last frame of every video, and keep the outcome in an index"
    one = commands.add_parser("check", help=what, description=f"{what.capitalize()}.")
    one.add_argument("dataset", type=given, help="its name, or the path of its folder (./mine, /data/mine)")
    one.add_argument("--split", type=positive, default=1, help="of the three official splits of ucf101 and hmdb51")
    add_reader(one)
    one.set_defaults(interrupted="the same command resumes from there")


def bench_options(parser: argparse.ArgumentParser) -> None:
    """tdn bench             all, one after the other: an hour on a CPU, a quarter of it with a GPU
    tdn bench data        clips per second and core, of PIL and of tdn
    tdn bench training    steps of the profiles pocket and paper, on the GPU where there is one
    tdn bench recipes     accuracy against clips seen: trains the networks that chose the pocket recipe
    tdn bench epochs      would more epochs change it? trains six networks at a quarter to twice the epochs

    Tables go to results/bench/."""
    minutes = {"memory": 5, "data": 3, "waiting": 2, "training": 10, "networks": 30, "recipes": 30, "epochs": 40}
    told = ", ".join(f"{name} {number}" for name, number in minutes.items())
    what = f"minutes: {told}; default: all but the last two"
    parser.add_argument("measurement", nargs="?", choices=tuple(minutes), help=what)
    of = "of training and networks (default: the GPU where there is one); the table is named after it"
    parser.add_argument("--device", choices=("cpu", "cuda"), help=of)


def book_options(parser: argparse.ArgumentParser) -> None:
    """tdn book execute --profile smoke          every notebook, in minutes
    tdn book execute --notebook 3 8           two of them, at the default scale
    tdn book pages --profile smoke            their pages, in results/smoke/book
    tdn book compare                          your own study against the committed record
    tdn book record --profile record          what is committed of a study"""
    parts = parser.add_subparsers(title="commands", dest="action", metavar="COMMAND", prog="tdn book", required=True)
    actions = {"execute": "execute the notebooks", "pages": "make a site of the executed notebooks"}
    actions["compare"] = "compare a study with the record; status 1 where more than one row in twenty differs"
    actions["record"] = "keep the answers, histories and manifests of all runs as a record, in few files"
    actions["costs"] = "count the costs of all networks again, into tdn/model/costs.json: after a change of tdn/model"
    for action, what in actions.items():
        one = parts.add_parser(action, help=what, description=f"{what.capitalize()}.")
        add_profile(one)
    add = parts.choices["execute"].add_argument
    add("--notebook", nargs="+", metavar="NUMBER", help="only these (default: all)")
    add("--jobs", type=positive, help="notebooks at a time (default: 1 while runs are missing)")

"""In a notebook: a small folder of videos, a curve that grows, and a video that is chosen by hand."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from tdn.data.disk.published import VIDEO_SUFFIXES
from tdn.data.pocket.render import CLASSES, encode, render_clip
from tdn.own.pictures import plot_history

LABELS = (0, 1, 2)  # of the pocket classes that are told apart
EACH = 10  # videos of a class


def example_folder(folder: Path) -> Path:
    """A folder as one's own: `folder`/<class>/<number>.mp4, rendered where it is missing, a few classes of the pocket
    benchmark."""
    for label in LABELS:
        for number in range(EACH):
            file = folder / CLASSES[label].name / f"{number}.mp4"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                encode(file, render_clip(label, (7, number)))
    return folder


def growing_curve() -> Callable[[pd.DataFrame], None]:
    """For `train_network(on_history=...)`: one figure in the notebook, drawn anew after each epoch."""
    shown = display(display_id=True)

    def draw(history: pd.DataFrame) -> None:
        figure = plot_history(history)
        shown.update(figure)
        plt.close(figure)

    return draw


def choose_video(answer: Callable[[Path], Any], folder: Path) -> Any:
    """A widget with the videos in `folder` and one for uploading; shows what `answer` gives for the chosen one."""
    import ipywidgets  # optional

    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    named = [(str(path.relative_to(folder)), path) for path in videos]
    chosen = ipywidgets.Dropdown(options=named, description="video")
    upload, output = ipywidgets.FileUpload(accept="video/*", description="upload one"), ipywidgets.Output()

    def show(path: Path) -> None:
        output.clear_output(wait=True)
        with output:
            display(answer(path))

    def uploaded(change: dict[str, Any]) -> None:
        for file in change["new"]:
            with TemporaryDirectory() as place:  # not beside the reader's own videos, which it might replace
                path = Path(place) / Path(file["name"]).name
                path.write_bytes(file["content"])
                show(path)

    chosen.observe(lambda change: show(change["new"]), "value")
    upload.observe(uploaded, "value")
    if videos:
        show(chosen.value)
    return ipywidgets.VBox([ipywidgets.HBox([chosen, upload]), output])

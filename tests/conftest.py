"""Rendered pocket clips and a browser, once for all tests; places for data sets."""

import os
import shutil
import sys

# Before torch is imported: one thread here and in the processes that tests start, for tests run on every core.
os.environ["OMP_NUM_THREADS"] = "1"
# On a machine with a GPU, too, all tests compute on the CPU but those of -m gpu. (A worker has what its parent set.)
if "PYTEST_XDIST_WORKER" not in os.environ and "gpu" not in sys.argv:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
import torch
import torchvision  # noqa: F401  before decord, which some tests import: after it, it reads no PNG

try:
    from helpers import layouts

    from tdn.data.pocket import render as pocket
except ModuleNotFoundError as lacking:  # a bare machine: the tests that need a GPU can be collected
    if lacking.name.startswith(("tdn", "helpers")):
        raise
    collect_ignore_glob = ["test_*", "[!g]*/test_*"]
else:
    SPEC = pocket.PocketSpec(train=36, val=19, seed=5)

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A folder of rendered data, as `.data` is for the study."""
    root = tmp_path_factory.mktemp("data")
    pocket.render_set(root, SPEC)
    return root


@pytest.fixture
def video_sets(data_root):
    """Training (36) and validation (19) videos, read from file."""
    return pocket.load(pocket.render_set(data_root, SPEC), SPEC)


@pytest.fixture
def video(tmp_path):
    pocket.encode(tmp_path / "clip.mp4", pocket.render_clip(8, 3))
    return tmp_path / "clip.mp4"


@pytest.fixture
def broken_videos(tmp_path, video):
    """Files that are no whole video, by what is wrong with them."""
    paths = {name: tmp_path / f"{name}.mp4" for name in ("absent", "empty", "text", "truncated")}
    paths["truncated"].write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    paths["empty"].touch()
    paths["text"].write_text("this is no video\n" * 100)
    return paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder without configuration as TDN_HOME, and no data set in the environment."""
    for key in [key for key in os.environ if key.startswith("TDN_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("TDN_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes a layout and configures it: `place("ssv1")`, with the arguments of the function of this name."""

    def make(name, **arguments):
        root = tmp_path / name
        getattr(layouts, name)(root, **arguments)
        monkeypatch.setenv(f"TDN_{name.upper()}", str(root))
        return root

    return make


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium that belongs to the system; the tests that need it are skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (Debian and Ubuntu: apt-get install chromium)")
    import playwright.sync_api  # slow to import, and needed by the pages' tests only

    with playwright.sync_api.sync_playwright() as driver:
        # root has no sandbox; machines in containers have little shared memory
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        with driver.chromium.launch(executable_path=program, args=arguments) as chromium:
            yield chromium


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device, or not run with -m gpu"))

"""The notebook runner, on small real notebooks with real kernels."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from filelock import FileLock

from tdn.__main__ import main
from tdn.book.runner import NotebookError, run_notebook, select
from tdn.utils import CHECKOUT, write_text

EXECUTE = ["book", "execute", "--profile", "smoke"]

# The kernel holds a lock that the system frees when the process ends, however it ends.
SLEEP = """\
import time, filelock
lock = filelock.FileLock("kernel.lock"); lock.acquire()
open("started", "w").close()
time.sleep(600)"""


@pytest.fixture(autouse=True)
def results_in_a_temporary_place(tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    monkeypatch.setattr("tdn.commands.book.NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("TDN_HOME", str(tmp_path))  # for the processes started here


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# A title")]
    cells += [nbformat.v4.new_code_cell('profile = "pocket"', metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.get("text", "") for c in cells if c.cell_type == "code" for o in c.outputs)


def test_success(tmp_path, capfd):
    show = "import os, sys; print('profile is', profile); print(os.getcwd()); print(sys.executable)"
    loop = "from tqdm import tqdm\nfor _ in tqdm(range(50), mininterval=0): pass"
    source, output = write_notebook(tmp_path / "a.ipynb", show, loop), tmp_path / "deep/down/a.ipynb"
    before = source.read_bytes()
    run_notebook(source, output, {"profile": "smoke"}, tmp_path)
    text = printed(output)
    assert "profile is smoke\n" in text and str(tmp_path) in text and sys.executable in text
    assert text.count("it/s") <= 1, "the copy keeps one state of a progress bar"
    assert "profile is smoke\n" in capfd.readouterr().out, "output is passed on"
    assert source.read_bytes() == before and list(output.parent.iterdir()) == [output]
    with pytest.raises(ValueError, match=r"'profil'.*did you mean profile"):
        run_notebook(source, output, {"profil": "smoke"}, tmp_path)


def test_one_notebook_of_several_gets_its_part_of_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")  # the tests' own, which would count
    source = write_notebook(tmp_path / "a.ipynb", "import os; print(os.environ['OMP_NUM_THREADS'])")
    run_notebook(source, tmp_path / "b.ipynb", {}, tmp_path, threads=3)
    assert printed(tmp_path / "b.ipynb") == "3\n"


def test_failing_notebook_and_dead_kernel(tmp_path, capsys):
    write_notebook(tmp_path / "notebooks/01_good.ipynb")
    write_notebook(tmp_path / "notebooks/02_bad.ipynb", "x = 1", "y = 0\nprint('a')\nx / y", "print('never')")
    assert main([*EXECUTE, "--jobs", "1"]) == 1
    error = capsys.readouterr().err
    assert "02_bad.ipynb: code cell 3 failed\n    y = 0\nZeroDivisionError: division by zero\n" in error
    assert "Traceback" not in error
    folder = tmp_path / "results/smoke/notebooks"
    assert sorted(p.name for p in folder.iterdir()) == ["01_good.ipynb", "02_bad.ipynb"]
    assert "ZeroDivisionError" in (folder / "02_bad.ipynb").read_text()
    assert "never" not in printed(folder / "02_bad.ipynb")
    source = write_notebook(tmp_path / "a.ipynb", "import os\nos._exit(3)", "print('never')")
    with pytest.raises(NotebookError, match=r"a\.ipynb: code cell 2 failed\n    import os\nDeadKernelError"):
        run_notebook(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert (tmp_path / "out.ipynb").exists()


@pytest.mark.slow
def test_several_at_a_time_and_the_first_error_ends_all(tmp_path, capsys):
    write_notebook(tmp_path / "notebooks/01_waits.ipynb", SLEEP)
    wait = "import pathlib, time\nwhile not pathlib.Path('started').exists(): time.sleep(0.1)"
    write_notebook(tmp_path / "notebooks/02_bad.ipynb", f"{wait}\nraise OSError('disk full')")
    assert main([*EXECUTE, "--jobs", "2"]) == 1
    assert "OSError: disk full" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "results/smoke/notebooks").iterdir()] == ["02_bad.ipynb"]
    FileLock(tmp_path / "kernel.lock").acquire(timeout=20)  # raises while the other kernel lives


def test_some_notebooks_and_the_verdict(tmp_path, capsys):
    for name in ("01_a", "02_b", "10_c"):
        write_notebook(tmp_path / f"notebooks/{name}.ipynb")
    write_text(tmp_path / "results/smoke/tables/a.csv", "")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process in (gone.pid, os.getpid()):  # what a killed runner leaves, and what one at work has
        write_text(tmp_path / f"results/smoke/notebooks/.01_a.{process}.ipynb", "")
    assert main([*EXECUTE, "--notebook", "2", "10"]) == 0
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict == f"2 notebooks ran, 1 table and 0 figures in {tmp_path}/results/smoke; nothing failed"
    folder = tmp_path / "results/smoke/notebooks"
    assert sorted(p.name for p in folder.iterdir()) == [f".01_a.{os.getpid()}.ipynb", "02_b.ipynb", "10_c.ipynb"]
    with pytest.raises(ValueError, match="no notebook '7'; there are 01, 02, 10"):
        select(tmp_path / "notebooks", ["7"])
    with pytest.raises(ValueError, match="no numbered notebook"):
        select(folder.parent)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_runner(tmp_path, number, status):
    write_notebook(tmp_path / "notebooks/01_a.ipynb", SLEEP)
    # Tests that run in the background of a shell start with Ctrl-C ignored.
    code = f"""import pathlib, signal, sys, tdn.__main__, tdn.commands.book
signal.signal(signal.SIGINT, signal.default_int_handler)
tdn.commands.book.NOTEBOOKS = pathlib.Path.cwd() / "notebooks"
sys.exit(tdn.__main__.main({EXECUTE}))"""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}  # also where tdn is not installed
    runner = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert runner.poll() is None and time.monotonic() < deadline, "the cell did not start"
            time.sleep(0.1)
        runner.send_signal(number)
        assert runner.wait(timeout=30) == status
    finally:
        runner.kill()
    FileLock(tmp_path / "kernel.lock").acquire(timeout=20)  # raises while the kernel lives
    left = [p.name for p in (tmp_path / "results/smoke/notebooks").iterdir()]
    assert "01_a.ipynb" not in left and (number == signal.SIGKILL or not left)

"""What was stored is what is read: damaged files of runs, of evaluations and of rendered clips are noticed."""

import dataclasses
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SPEC
from helpers.runs import TINY, on_the_cpu, with_epochs  # noqa: F401 (a fixture)

from tdn.__main__ import main
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.evaluation import Evaluation
from tdn.experiments import runs as experiment
from tdn.experiments.runs import FILES
from tdn.model.weights import load_model
from tdn.utils import write_record

TWO_CLIPS = Views(2, 1, 48, 0.8)
OTHERS = "scores-2x1-48-0.800.npz"


@pytest.fixture(scope="module")
def made(tmp_path_factory, data_root):
    """Results of a whole run and of one that was interrupted, with scores of other views."""
    results = tmp_path_factory.mktemp("results") / "smoke"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        experiment.run(TINY, results, data_root)
        experiment.scores(TINY, results, TWO_CLIPS, data_root)
        patch.setattr(experiment, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(with_epochs(1), results, data_root)
    return results


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.fixture
def results(made, tmp_path):
    """A copy of them."""
    return shutil.copytree(made, tmp_path / "smoke")


def folder_of(results, config=TINY):
    return experiment.stored(config, results).folder


def flip(path, place, bits=0xFF):
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


def read(name, results, data_root):
    """Reads a file as those do that need it."""
    of = experiment.stored(TINY, results)
    readers = {
        "config.json": lambda: experiment.run(TINY, results, data_root),
        "history.csv": lambda: of.history,
        "scores.npz": lambda: of.evaluation,
        "weights.pt": lambda: experiment.trained(TINY, results),
        "metrics.json": lambda: of.metrics,
        "manifest.json": lambda: of.manifest,
        OTHERS: lambda: experiment.scores(TINY, results, TWO_CLIPS, data_root),
        "checkpoint.pt": lambda: experiment.run(with_epochs(1), results, data_root),
    }
    return readers[name]()


def damaged(name, results):
    return folder_of(results, with_epochs(1) if name == "checkpoint.pt" else TINY) / name


@pytest.mark.parametrize("name", [*FILES, "manifest.json", OTHERS, "checkpoint.pt"])
def test_a_damaged_file_is_named_with_what_to_do(name, results, data_root):
    """In one line, whatever is wrong with it: nothing left of it, its half, another text, one bit."""
    path = damaged(name, results)
    content = path.read_bytes()
    again = f"remove {path.parent}, then: tdn train --profile smoke --runs {path.parent.name}"
    remedy = {OTHERS: "remove it", "checkpoint.pt": "remove it"}.get(name, again)
    for other in (b"", content[: len(content) // 2], b"no such file", bytes([content[0] ^ 1]) + content[1:]):
        path.write_bytes(other)
        with pytest.raises(ValueError) as error:
            read(name, results, data_root)
        message = str(error.value)
        assert str(path) in message and remedy in message and "\n" not in message
    path.unlink()
    if name in (*FILES, "manifest.json"):
        incomplete = f"no {path} of a complete run: train it first, tdn train --profile smoke --runs {TINY.name}"
        with pytest.raises(FileNotFoundError, match=incomplete if name == "metrics.json" else f"no {path}: {again}"):
            read(name, results, data_root)


def test_a_training_that_is_done_is_compared(results, monkeypatch, capsys):
    monkeypatch.setattr(
        "tdn.commands.train._study", lambda _: (SimpleNamespace(argument="smoke", results=results), [TINY])
    )
    assert main(["train"]) == 0
    path = folder_of(results) / "weights.pt"
    assert main(["train", "--pretrained", str(path)]) == 2 and "did not start from" in capsys.readouterr().err
    flip(path, path.stat().st_size // 2)
    assert main(["train"]) == 2 and f"{path} is damaged" in capsys.readouterr().err


def test_flips_of_all_artefacts_are_noticed(results, data_root, tmp_path):
    """One byte at a time, 200 in all, each at another place."""
    shutil.copytree(data_root, tmp_path / "data")
    rendered = pocket.render_set(tmp_path / "data", SPEC)
    names = [*FILES, "manifest.json", OTHERS, "checkpoint.pt"]
    files = [(damaged(name, results), lambda name=name: read(name, results, data_root)) for name in names]
    started = folder_of(results, with_epochs(1)) / "config.json"
    files.append((started, lambda: experiment.run(with_epochs(1), results, data_root)))
    index = [rendered / "index.csv", rendered / "index.csv.sha256", *sorted(rendered.glob("*/*.mp4"))[::12]]
    files += [(path, lambda: pocket.load(pocket.render_set(rendered.parent, SPEC), SPEC)) for path in index]
    rng, noticed, silent = np.random.default_rng(0), Counter(), []
    for number in range(200):
        path, reader = files[number % len(files)]
        place, bits = int(rng.integers(path.stat().st_size)), int(rng.integers(1, 256))
        flip(path, place, bits)
        try:
            reader()
            silent.append((path, place, bits))
        except ValueError as error:
            assert str(path.name) in str(error) and "remove" in str(error)
            noticed[path.name] += 1
        flip(path, place, bits)
    print(f"noticed: {dict(noticed)}, silently used: {silent}")
    assert not silent
    for _, reader in files[: len(FILES)]:
        reader()  # restored, it is read


@pytest.mark.parametrize("what", ["weights.pt", "scores.npz"])
def test_files_given_by_path_are_compared_with_the_record_beside_them(what, results, data_root, tmp_path, capsys):
    """A file alone is anybody's."""
    path, alone = folder_of(results) / what, tmp_path / "alone" / what
    alone.parent.mkdir()
    shutil.copy(path, alone)
    load = load_model if what == "weights.pt" else Evaluation.load
    load(alone)
    (alone.parent / "manifest.json").write_text('{"name": "of another program"}')
    load(alone)
    flip(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=f"{path} is damaged.*then: tdn train --profile smoke --runs {TINY.name}"):
        load(path)
    record = path.with_name("manifest.json")
    written = record.read_bytes()
    record.write_bytes(written.replace(b'"%s"' % what.encode(), b'"_%s"' % what.encode()[1:]))  # as if not listed
    with pytest.raises(ValueError, match=f"{record} is damaged"):
        load(path)
    record.write_bytes(written)
    if what == "weights.pt":
        with pytest.raises(ValueError, match="is damaged"):
            experiment.run(dataclasses.replace(TINY, seed=1), results, data_root, pretrained=path)
        assert main(["predict", "clip.mp4", "--weights", str(path)]) == 2
    else:
        assert main(["evaluate", "--ensemble", str(path.parent)]) == 2
    printed = capsys.readouterr().err
    assert f"{path} is damaged" in printed and len(printed.splitlines()) == 1


def test_a_run_is_not_resumed_with_another_configuration_than_it_was_started_with(results, data_root):
    path = folder_of(results, with_epochs(1)) / "config.json"
    for text in ("", "{", path.read_text().replace("0.01", "0.02")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"or its {path} is damaged.*then: tdn train"):
            experiment.run(with_epochs(1), results, data_root)


def test_a_run_that_started_from_other_weights_is_not_taken_for_one_from_these(results, data_root):
    path = folder_of(results) / "weights.pt"
    with pytest.raises(ValueError, match=f"{TINY.name} did not start from {path}: to train it from there, move"):
        experiment.run(TINY, results, data_root, pretrained=path)


def test_the_history_is_that_of_the_checkpoint(results, data_root):
    """Not what lies there after the process was killed between the two files."""
    config = with_epochs(1)
    (folder_of(results, config) / "history.csv").write_text("epoch,lr\n")
    assert len(experiment.run(config, results, data_root).history) == 1


def test_scores_that_no_manifest_lists_are_computed_again(results, data_root):
    """Of a process that was killed between the two."""
    path = folder_of(results) / OTHERS
    before = experiment.scores(TINY, results, TWO_CLIPS, data_root).scores
    record = json.loads((path.parent / "manifest.json").read_text())
    assert OTHERS in record["files"]
    files = {name: digest for name, digest in record.pop("files").items() if name != OTHERS}
    del record["sha256"]
    write_record(path.parent / "manifest.json", record, files)
    of = experiment.stored(TINY, results).evaluation
    Evaluation(before + 1, of.labels, of.videos).save(path)
    for _ in range(2):
        assert np.array_equal(experiment.scores(TINY, results, TWO_CLIPS, data_root).scores, before)


def test_rendered_files_that_changed_are_named_and_rendered_again(data_root, tmp_path):
    folder = shutil.copytree(pocket.render_set(data_root, SPEC), tmp_path / pocket.render_set(data_root, SPEC).name)
    clip, other, index = folder / "val/00003.mp4", folder / "train/00001.mp4", folder / "index.csv"
    whole, rows = clip.read_bytes(), index.read_text()
    flip(clip, 1000)
    flip(other, 1000)
    with pytest.raises(ValueError, match=f"({clip}|{other}) is damaged.*remove it, it is rendered again"):
        pocket.load(pocket.render_set(tmp_path, SPEC), SPEC)
    clip.unlink()
    with pytest.raises(ValueError, match=f"{other} is damaged"):  # it gets no new digest
        pocket.render_set(tmp_path, SPEC, workers=1)
    other.unlink()
    pocket.load(pocket.render_set(tmp_path, SPEC, workers=1), SPEC)
    assert clip.read_bytes() == whole and index.read_text() == rows
    for fewer in (rows[:2000], "".join(rows.splitlines(True)[:-3]), ""):
        index.write_text(fewer)
        for reader in (lambda folder: pocket.load(folder, SPEC), lambda folder: pocket.render_set(folder.parent, SPEC)):
            with pytest.raises(ValueError, match=f"{index} is damaged.*remove {folder}, it is rendered again"):
                reader(folder)

"""What needs a CUDA device: `pytest -m gpu`. Collected with torch, torchvision, numpy and pytest alone: what the tests
use is imported in them."""

import copy

import pytest
import torch

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def float32_as_it_is(monkeypatch):
    """Not TF32, with which convolutions compute by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def training(video_sets, folder, compute, steps=2, micro_batch=12, device=GPU):
    import tdn
    from tdn.data.clips import TrainingClips
    from tdn.engine.distributed import to_device
    from tdn.engine.loading import TrainingLoader
    from tdn.engine.recipes import Recipe
    from tdn.engine.trainer import Training

    torch.manual_seed(0)
    model = to_device(tdn.create_model("tdn_resnet10", 24, 2, width=8, dropout=0.0), device).train()
    loader = TrainingLoader(TrainingClips(video_sets[0], 2, 5, (48 / 56,), 3, "even"), 12, micro_batch)
    recipe = Recipe(steps, 12, 0.01, "adamw", micro_batch=micro_batch)
    return Training(model, loader, recipe, 48, folder, device, compute)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_lowers_the_loss(video_sets, tmp_path, precision, compiled):
    from tdn.engine.trainer import Compute

    of_one = training(video_sets, tmp_path, Compute(None, precision, compiled))
    totals = []
    for _ in range(8):
        of_one.begin_epoch()
        of_one.totals = torch.stack(tuple(of_one.totals))
        of_one.train_one_epoch(lambda steps: None)
        totals.append(float(of_one.totals[0]))
        of_one.history.append({})
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("micro_batch", [4, 12])
def test_a_step_is_that_of_the_cpu(video_sets, tmp_path, micro_batch):
    from tdn.engine.trainer import Compute

    found = {}
    for device in (torch.device("cpu"), GPU):
        of_one = training(video_sets, tmp_path / device.type, Compute(), micro_batch=micro_batch, device=device)
        of_one.train_one_epoch(lambda steps: None)
        found[device.type] = of_one.model.state_dict()
    for name, value in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name].cpu(), value, atol=2e-3, rtol=1e-2, msg=name)


def test_a_micro_batch_does_not_wait_for_the_device(video_sets, tmp_path):
    from tdn.engine.loading import on_device
    from tdn.engine.trainer import Compute

    of_one = training(video_sets, tmp_path, Compute())
    for ((samples, _),) in on_device(of_one.loader.epoch(0), GPU):
        torch.cuda.set_sync_debug_mode("error" if len(of_one.optimizer.state) else "default")
        try:
            of_one._micro_batch(samples)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        of_one.optimizer.step()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_graphs_of_a_step_have_its_gradients_and_running_statistics(video_sets, tmp_path, precision):
    from tdn.engine.trainer import Compute

    found = []
    for graph in (True, False):
        of_one = training(video_sets, tmp_path, Compute(precision=precision))
        assert of_one.graphed is not None
        of_one.graphed = of_one.graphed if graph else None
        samples = [of_one.loader.clips[index] for index in range(12)]
        of_one.statistics.start(1, keep=precision == "fp16")
        of_one.statistics.start_micro_batch(0)
        totals = of_one._micro_batch(samples)
        gradients = [parameter.grad.flatten() for parameter in of_one.model.parameters()]
        found.append((totals, torch.cat(gradients), torch.cat(of_one.statistics.buffers)))
    (totals, gradients, statistics), (of_eager, gradients_of_eager, statistics_of_eager) = found
    torch.testing.assert_close(totals, of_eager, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(statistics, statistics_of_eager, atol=1e-2, rtol=1e-2)
    error = (gradients - gradients_of_eager).norm() / gradients_of_eager.norm()
    assert error < (1e-3 if precision == "fp32" else 0.05)


def test_clips_on_the_device_have_the_same_pixels(video_sets):
    from tdn.data.clips import TrainingClips
    from tdn.data.transforms import to_input, to_input_of_frames

    video_sets[0].keep_in_memory()
    read, resident = (TrainingClips(video_sets[0], 2, 5, (48 / 56,), 3, "even") for _ in range(2))
    resident.move_to(GPU, 48)
    crops = [read[index].crops[0] for index in range(6)]
    expected = to_input([read[index].clip for index in range(6)], crops, 48)
    found = to_input_of_frames(resident.frames, [resident[index].clip for index in range(6)], crops)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-6, rtol=1e-6)


def test_clips_and_crops_are_those_of_the_cpu(video_sets):
    from tdn.data.clips import TrainingClips, collate
    from tdn.data.transforms import Crop, to_input
    from tdn.engine.loading import on_device

    clips = TrainingClips(video_sets[0], 2, 5, seed=3)
    given = [[collate([clips[index]])] for index in range(4)]
    for before, after in zip(given, on_device(copy.deepcopy(given), GPU), strict=True):
        ((sample,), _), ((copied,), _) = before[0], after[0]
        assert copied.clip.device.type == "cuda" and torch.equal(copied.clip.cpu(), sample.clip)
    frames = [torch.randint(0, 256, (2, 1, 3, 40, 50), dtype=torch.uint8)]
    crops = [Crop(1, 2, 32, 32, flip=True)]
    on_gpu = to_input([frames[0].cuda()], crops, 24)
    torch.testing.assert_close(on_gpu.cpu(), to_input(frames, crops, 24), atol=0.05, rtol=0)  # rounding of uint8


def test_scores_and_maps_are_those_of_the_cpu(video, video_sets):
    import tdn
    from tdn.data.clips import TestClips
    from tdn.data.sampling import Views
    from tdn.engine.evaluation import evaluate

    torch.manual_seed(0)
    model, views = tdn.create_model("tdn_resnet10", 24, 4, width=8).eval(), Views(2, 3, 48)
    scores, maps = [], []
    for device in (torch.device("cpu"), GPU):
        model.to(device)
        scores.append(torch.from_numpy(evaluate(model, TestClips(video_sets[1], 4, 5, views), device, 7).scores))
        maps.append(tdn.cam(model, video, "all", 3, "stage5", views=Views(size=48)))
    torch.testing.assert_close(*scores, atol=1e-3, rtol=1e-3)
    assert maps[1].maps.device.type == maps[1].frames.device.type == "cpu"
    assert (maps[0].maps - maps[1].maps).abs().max() < 0.02
    assert (maps[0].frames.int() - maps[1].frames.int()).abs().max() <= 1, "resized in float there"


def test_runs_are_dealt_to_processes_on_the_device(tmp_path, data_root):
    import dataclasses

    from helpers.runs import TINY

    from tdn.experiments import queue, registry, runs

    configs = [dataclasses.replace(TINY, seed=seed) for seed in range(2)]
    queue.train(registry.plan(configs, tmp_path), tmp_path, data_root, jobs=2)
    assert {runs.stored(config, tmp_path).manifest["device"] for config in configs} == {torch.cuda.get_device_name(0)}

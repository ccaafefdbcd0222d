"""The inference form gives the network's scores: as it stands, compiled, exported, and in another engine."""

import onnxruntime
import pytest
import torch
from helpers.reference import randomise
from torch._inductor import config as inductor
from torch.nn.modules.batchnorm import _BatchNorm

import tdn

FORMS = [(name, {}) for name in ("tsn_resnet10", "tdn_resnet10", "stm_resnet10", "tea_resnet10", "tanet_resnet10")]
FORMS += [("i3d_resnet50", {}), ("tdn_resnet10", {"l_tdm_fusion": "F+G", "s_tdm_fusion": "F+F*H_channel"})]
FORMS += [("tdn_resnet10", {"l_tdm_fusion": "F+F*G_channel", "l_tdm_bidirectional": False, "l_tdm_multi_scale": False})]


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_every_kind_of_network_keeps_its_scores(name, options):
    torch.manual_seed(0)
    network = randomise(tdn.create_model(name, 7, 4, width=16, **options)).double().eval()
    inputs = torch.randn(2, 4, network.window, 3, 64, 64, dtype=torch.double)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        before, fast = network(inputs), tdn.optimize(network.train())
        after = fast(inputs)
    assert "tdn" not in name or not any(isinstance(module, _BatchNorm) for module in fast.modules())
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    assert network.training and all(torch.equal(state[key], value) for key, value in network.state_dict().items())


@pytest.mark.slow
def test_compiled_and_exported_and_in_onnx_for_any_number_of_videos(tmp_path):
    """Each module once: fewer would leave one out, more only take time to compile."""
    torch.manual_seed(0)
    once = {"s_tdm_stages": (1,), "l_tdm_stages": (5,), "temporal_conv_stages": (5,)}
    model = randomise(tdn.create_model("tdn_resnet10", 7, 4, width=16, **once)).eval()
    clips = torch.randn(2, 4, 5, 3, 64, 64)
    with torch.no_grad(), inductor.patch(freezing=True):
        compiled = torch.compile(tdn.optimize(model), fullgraph=True)(clips)
        torch.testing.assert_close(compiled, model(clips), rtol=1e-3, atol=1e-3)

    path, any_number = tmp_path / "tdn.onnx", {"clips": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(tdn.optimize(model), (clips,), dynamic_shapes=any_number)
    torch.onnx.export(program, (), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for inputs in (clips, torch.randn(3, *clips.shape[1:])):
        (scores,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
        with torch.no_grad():
            for given in (torch.from_numpy(scores), program.module()(inputs)):
                torch.testing.assert_close(given, model(inputs), rtol=1e-3, atol=1e-3)

"""Initial weights: what is loaded, missing, unexpected and drawn anew; strict but for what is asked for by name."""

from __future__ import annotations

import math
import os
import pickle
import urllib.error

import pytest
import torch
from torch import nn

from models import backbones, checkpoint, folded, weights
from models.vision import torchvision
from models.weights import LoadReport, WeightsError, initialise

HEAD = {"fc.weight", "fc.bias"}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(5)
    return backbones.build("resnet18", 1000).state_dict()


def write(path, state):
    torch.save(state, path)
    return f"file:{path}"


def body(model):
    return {k: v.clone() for k, v in model.state_dict().items() if k not in HEAD}


def equal(first, second):
    return all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "efficientnet_b0", "crnet", "squeezenet1_1"])
def test_random_is_kaiming_and_repeats(name):
    model = backbones.build(name, 2)
    report = initialise(model, name, "random", seed=3)
    assert set(report.reinitialised) == set(model.state_dict()) and not report.loaded
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
        if isinstance(module, nn.Linear) and module.weight.numel() > 5000:
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / module.in_features), rel=0.1)
    other = backbones.build(name, 2)
    initialise(other, name, "random", seed=3)
    assert equal(model.state_dict(), other.state_dict())
    initialise(other, name, "random", seed=4)
    assert not equal(model.state_dict(), other.state_dict())


def test_random_leaves_the_global_seed_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    model = backbones.build("crnet", 2)
    torch.manual_seed(1)
    initialise(model, "crnet", "random", seed=3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("form", ["pth", "safetensors", "wrapped", "parallel", "moco"])
def test_file_of_1000_classes_gives_everything_but_the_head(tmp_path, state, form):
    path = tmp_path / f"w.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        prefix = {"parallel": "module.", "moco": "module.encoder_q."}.get(form, "")
        found = {prefix + k: v for k, v in state.items()}
        torch.save({"state_dict": found, "epoch": 3} if form in {"wrapped", "moco"} else found, path)
    model = backbones.build("resnet18", 2)
    report = initialise(model, "resnet18", f"file:{path}")
    assert equal(body(model), state)
    assert set(report.loaded) == set(state) - HEAD
    assert set(report.reinitialised) == HEAD == set(report.unexpected) and not report.missing
    assert report.sha256 == checkpoint.sha256(path) and report.source == path.name
    assert "120 tensors loaded" in report.summary() and report.as_dict()["init"] == f"file:{path}"


def test_strict_unless_partial_is_said(tmp_path, state):
    cut = {k: v for k, v in state.items() if not k.startswith("layer4.1")}
    path = tmp_path / "cut.pth"
    model = backbones.build("resnet18", 2)
    with pytest.raises(WeightsError, match=r"missing 10 .*only by name: partial:PATH"):
        initialise(model, "resnet18", write(path, cut))
    report = initialise(model, "resnet18", f"partial:{path}", seed=1)
    assert len(report.missing) == 10 and all(k.startswith("layer4.1") for k in report.missing)
    assert set(report.missing) | HEAD <= set(report.reinitialised)
    assert equal({k: v for k, v in cut.items() if k not in HEAD}, model.state_dict())
    weight = model.get_parameter("layer4.1.conv1.weight")
    assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.05)


@pytest.mark.parametrize("kind", ["file", "partial"])
@pytest.mark.parametrize(
    ("backbone", "message"), [("resnet50", "another network"), ("densenet121", "another network"), ("crnet", "0 of")]
)
def test_weights_of_another_network(tmp_path, state, kind, backbone, message):
    write(tmp_path / "w.pth", state)
    model = backbones.build(backbone, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        initialise(model, backbone, f"{kind}:{tmp_path / 'w.pth'}")
    assert equal(before, model.state_dict())  # nothing half loaded


def test_a_hostile_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('the pickle ran')",))

    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save({"fc.weight": Bomb()}, tmp_path / "bomb2.pth")
    for name in ("bomb.pth", "bomb2.pth"):
        with pytest.raises(WeightsError, match="weights_only=True refuses"):
            initialise(backbones.build("crnet", 2), "crnet", f"file:{tmp_path / name}")


def test_refused_files_say_why(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    torch.save({"a": torch.zeros(99)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:200])
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, reason in {
        "evil": r"it calls posix\.system, which is code and not a tensor",
        "cut": "PytorchStreamReader failed reading zip archive",
        "text": "it is not a torch file: it begins with b'hello'",
        "empty": "it is empty",
    }.items():
        with pytest.raises(
            WeightsError, match=rf"weights_only=True refuses \({reason}.*save model.state_dict\(\) alone"
        ):
            weights.read_file(tmp_path / f"{name}.pth")


def test_folded_statistics_from_as_many_pictures_as_memory_holds(caplog):
    norm = nn.BatchNorm2d(3)
    nn.init.ones_(norm.bias)
    norm.running_var.fill_(1 - norm.eps)
    asked = []

    def pictures(count):
        asked.append(count)
        if count > 20:
            torch.empty(1 << 60)
        return torch.randn(count, 3, 8, 8)

    model = nn.Sequential(norm)
    assert weights._reestimate(model, ["0"], pictures) == 16 and asked == [64, 32, 16]
    assert "out of memory with 64 pictures, taking 32" in caplog.text
    with pytest.raises(WeightsError, match="out of memory with a single picture"):
        weights._reestimate(model, ["0"], lambda count: torch.empty(1 << 60))


def test_other_bad_files(tmp_path, state):
    model = backbones.build("resnet18", 2)
    with pytest.raises(WeightsError, match="got no file"):
        initialise(model, "resnet18", "file:nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="got list"):
        initialise(model, "resnet18", f"file:{tmp_path / 'list.pth'}")
    with pytest.raises(WeightsError, match="NaN or infinity in conv1"):
        initialise(model, "resnet18", write(tmp_path / "nan.pth", state | {"conv1.weight": state["conv1.weight"] / 0}))
    for init in ("imagnet", "random:3", "file:", "imagenet:x", ""):
        with pytest.raises(WeightsError, match="expected one of random, imagenet"):
            initialise(model, "resnet18", init)


def test_encoder_and_classifier_of_ours(tmp_path):
    card = {"class_names": ["benign", "malignant"], "preprocessing": {"size": 224}, "recipe": {}}
    first = backbones.build("crnet", 2)
    checkpoint.save(tmp_path / "lnm", first, checkpoint.make_card(backbone="crnet", **card))
    encoder, _ = backbones.features(backbones.build("crnet", 2), "crnet")
    checkpoint.save(tmp_path / "ssl", encoder, checkpoint.make_card(backbone="crnet", kind="encoder", **card))
    for name, source in (("lnm", first), ("ssl", encoder)):
        model = backbones.build("crnet", 2)
        report = initialise(model, "crnet", f"encoder:{tmp_path / name}", seed=1)
        assert torch.equal(model.features[0].weight, source.features[0].weight)
        assert set(report.reinitialised) == {"classifier.weight", "classifier.bias"}
    with pytest.raises(WeightsError, match="expected an encoder of resnet18, got one of crnet"):
        initialise(backbones.build("resnet18", 2), "resnet18", f"encoder:{tmp_path / 'ssl'}")
    with pytest.raises(WeightsError, match=r"init encoder:.*got nothing there"):
        initialise(backbones.build("crnet", 2), "crnet", f"encoder:{tmp_path / 'none'}")


def test_imagenet_comes_from_torchvision(monkeypatch, state):
    enum = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(type(enum), "get_state_dict", lambda self, *a, **k: dict(state))
    model = backbones.build("resnet18", 2)
    report = initialise(model, "resnet18", "imagenet")
    assert equal(body(model), state) and "IMAGENET1K_V1" in report.source


def test_imagenet_without_a_network_says_what_to_do(monkeypatch):
    enum = torchvision.models.ResNet18_Weights.IMAGENET1K_V1

    def offline(self, *args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(type(enum), "get_state_dict", offline)
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth.*Name or service.*init file:PATH"):
        initialise(backbones.build("resnet18", 2), "resnet18", "imagenet")
    with pytest.raises(WeightsError, match="no ImageNet weights for CRNet"):
        initialise(backbones.build("crnet", 2), "crnet", "imagenet")


def test_densenet_files_of_2017(tmp_path):
    new = backbones.build("densenet121", 1000).state_dict()
    old = {
        weights.re.sub(r"(denselayer\d+)\.(norm|conv)([12])\.", r"\1.\2.\3.", key): value
        for key, value in new.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model = backbones.build("densenet121", 2)
    report = initialise(model, "densenet121", write(tmp_path / "old.pth", old))
    assert not report.missing and torch.equal(
        model.state_dict()["features.denseblock1.denselayer1.norm1.weight"],
        old["features.denseblock1.denselayer1.norm.1.weight"],
    )


def fold(model):
    """What made the partial file: each convolution scaled by its batch norm, which is left to add a bias."""
    modules = dict(model.named_modules())
    for name, norm in modules.items():
        if isinstance(norm, nn.BatchNorm2d):
            conv = modules[name.replace("downsample.1", "downsample.0").replace("bn", "conv")]
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            conv.weight.mul_(scale.view(-1, 1, 1, 1))
            norm.bias.sub_(norm.running_mean * scale)
            norm.weight.fill_(1)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)


@pytest.fixture(scope="module")
def folded_state():
    torch.manual_seed(2)
    model = backbones.build("resnet18", 1000).train()
    with torch.no_grad():
        for _ in range(3):
            model(2 + 3 * torch.randn(8, 3, 64, 64))
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        model.eval()
        image = torch.randn(2, 3, 64, 64)
        before = model(image)
        fold(model)
        torch.testing.assert_close(model(image), before, rtol=1e-3, atol=1e-3)
    return model.state_dict()


def test_folded_batch_norm_is_reestimated_and_the_function_kept(tmp_path, folded_state):
    init = write(tmp_path / "folded.pth", folded_state)
    model = backbones.build("resnet18", 1000)
    with pytest.raises(WeightsError, match=r"folded into the convolutions.*pass a batch"):
        initialise(model, "resnet18", init)
    batch = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    report = initialise(model, "resnet18", init, batch=batch)
    assert len(report.reestimated) == 20 and "function unchanged" in report.summary()
    stock = backbones.build("resnet18", 1000).eval()
    stock.load_state_dict(folded_state)
    stock.fc, model.fc = nn.Identity(), nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(batch), stock(batch), rtol=1e-3, atol=1e-3)
        # on the very batch the statistics came from, training mode computes the same (but for the n/(n−1) of variance)
        torch.testing.assert_close(model.train()(batch), stock(batch), rtol=1e-3, atol=1e-3)
    assert not folded.find(model)


def test_partial_and_folded(tmp_path, folded_state):
    """The form of the shared ResNet-18 file: four 3×3 convolutions and their batch norms absent, the rest folded."""
    cut = {k: v for k, v in folded_state.items() if not k.startswith("layer4.") or "downsample" in k}
    torch.save(cut, tmp_path / "cut.pth")
    model = backbones.build("resnet18", 2)
    batch = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    report = initialise(model, "resnet18", f"partial:{tmp_path / 'cut.pth'}", batch=batch)
    assert sorted({k.rpartition(".")[0] for k in report.missing}) == [
        f"layer4.{block}.{kind}{n}" for block in (0, 1) for kind in ("bn", "conv") for n in (1, 2)
    ]
    assert len(report.reestimated) == 16 and "layer4.0.downsample.1" in report.reestimated
    with torch.no_grad():
        assert bool(torch.isfinite(model.train()(batch)).all())


@pytest.mark.real
def test_the_shared_files(real_data):
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    path = real_data / "weights" / "resnet18_imagenet_partial.pth"
    report = initialise(backbones.build("resnet18", 2), "resnet18", f"partial:{path}", batch=batch)
    assert len(report.reestimated) == 16 and len([k for k in report.missing if k.endswith("conv1.weight")]) == 2
    with pytest.raises(WeightsError, match="partial:PATH"):
        initialise(backbones.build("resnet18", 2), "resnet18", f"file:{path}", batch=batch)
    path = real_data / "weights" / "squeezenet1_1_imagenet.pth"
    report = initialise(backbones.build("squeezenet1_1", 2), "squeezenet1_1", f"file:{path}")
    assert len(report.loaded) == 50 and not report.missing
    with pytest.raises(WeightsError, match="another network"):
        initialise(backbones.build("resnet18", 2), "resnet18", f"file:{path}")


def test_report_is_plain():
    assert LoadReport(init="random").summary() == "random: 0 tensors loaded"

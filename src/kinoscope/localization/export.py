"""Trained localizers as graphs for other runtimes: ONNX and torch.export, with a dynamic time axis.

The graph is the network alone: features [1, C, T] and mask [1, 1, T] (True at real steps) in, `logits_l`, `offsets_l`
(not of SnapFormer) and `distributions_l` (of TBTFormer and TriDet) out, a level each, fine to coarse.
T is a multiple of the coarsest stride. `graph.json` says the rest, and `decode_arrays.py` turns outputs into events
without torch.

Table-based positions bound T by `max_seq_len`; longer inputs, for which the official code stretches the table, are
refused by the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.engine.files import write_folder, write_json
from kinoscope.errors import KinoscopeError
from kinoscope.localization.decode_arrays import padded_features
from kinoscope.localization.models import Localizer, ModelConfig
from kinoscope.localization.predict import LocalizationModel

TOLERANCE = 1e-4  # largest deviation of a logit or offset from the network's own
FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
Outputs = list[np.ndarray]


class Graph(nn.Module):
    """The network with its outputs as one flat tuple."""

    def __init__(self, network: Localizer) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        output = self.network(features, mask)
        if not output.offsets:
            return tuple(output.logits)
        return (*output.logits, *output.offsets, *output.distributions)


def output_names(config: ModelConfig) -> list[str]:
    """Names of the graph's outputs, in order."""
    parts = ["logits"] + ["offsets"] * (config.model_name != "SnapFormer")
    parts += ["distributions"] * (config.model_name in ("TBTFormer", "TriDet"))
    return [f"{part}_{level}" for part in parts for level in range(len(config.strides))]


def description(model: LocalizationModel) -> dict[str, Any]:
    """`graph.json`: shapes, lengths and what decoding must know."""
    config, data = model.config, model.settings.data
    axis = (
        {"feat_stride": data.feat_stride * data.downsample_rate, "feat_num_frames": data.num_frames}
        if data.kind == "features"
        else {"feat_stride": 1.0, "feat_num_frames": 0.0 if data.instants else 1.0}
    )
    return {
        "format": 1,
        "model": config.model_name,
        "inputs": {"features": [1, _channels(config), "T"], "mask": [1, 1, "T"]},
        "outputs": output_names(config),
        "strides": list(config.strides),
        "multiple_of": config.scale_factor ** config.backbone_arch[2],
        "padding": max(1, config.embd_kernel_size // 2, config.head_kernel_size // 2),
        "max_length": longest_input(config),
        "label_names": list(model.label_names),
        "axis": axis,
        "decode": model.settings.decode.model_dump(exclude={"ext_score_file", "postprocess"}),
        "about": model.about,
    }


def longest_input(config: ModelConfig) -> int:
    """Steps of the longest input that the graph takes."""
    unit = config.scale_factor ** config.backbone_arch[2]
    longest = config.max_seq_len if config.use_abs_pe else max(config.max_length, config.max_seq_len)
    return longest // unit * unit


def export(
    model: LocalizationModel, folder: Path, kinds: Sequence[str] = ("onnx", "torch")
) -> dict[str, Any]:
    """Writes `graph.json` and the graphs into `folder` once each equals the network at three lengths.

    Returns {"folder", "files", "deviation": {kind: {length: largest difference}}}. Raises KinoscopeError where a graph
    deviates by more than TOLERANCE, or where onnx or onnxruntime is not installed.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "graph.json").is_file():
        raise KinoscopeError(
            "this folder holds other things", file=folder, remedy="give --output a new folder"
        )
    network, about = Graph(model.network.cpu().eval()), description(model)
    lengths = check_lengths(model.config)
    result: dict[str, Any] = {"folder": str(folder), "files": ["graph.json"], "deviation": {}}

    def fill(partial: Path) -> None:
        write_json(partial / "graph.json", about)
        program = traced(network, model.config, lengths[1])
        for kind in kinds:
            path = partial / FILES[kind]
            run = to_onnx(program, path, about["outputs"]) if kind == "onnx" else to_torch(program, path)
            result["deviation"][kind] = deviations(network, run, about, lengths)
            result["files"].append(path.name)

    write_folder(folder, fill)
    return result


def check_lengths(config: ModelConfig) -> tuple[int, int, int]:
    """A short, a middling and the longest input of interest; the middling one is traced."""
    unit, longest = (
        config.scale_factor ** config.backbone_arch[2],
        min(longest_input(config), config.max_seq_len),
    )
    middle = max(longest // unit // 3, 2) * unit
    return 2 * unit, middle, max(longest, middle + unit)


def traced(network: Graph, config: ModelConfig, length: int) -> Any:
    """The exported program, whose time axis is any multiple of the coarsest stride."""
    unit = config.scale_factor ** config.backbone_arch[2]
    steps = torch.export.Dim("steps", min=1, max=longest_input(config) // unit)
    time = {2: unit * steps}
    example = (torch.randn(1, _channels(config), length), torch.ones(1, 1, length, dtype=torch.bool))
    with torch.no_grad():
        return torch.export.export(network, example, dynamic_shapes={"features": time, "mask": time})


def _channels(config: ModelConfig) -> int:
    return config.input_dim if isinstance(config.input_dim, int) else sum(config.input_dim)


def to_torch(program: Any, path: Path) -> Callable[[np.ndarray, np.ndarray], Outputs]:
    """Writes the program, reads it again; a function from features and mask to outputs."""
    torch.export.save(program, path)
    module = torch.export.load(path).module()

    def run(features: np.ndarray, mask: np.ndarray) -> Outputs:
        with torch.no_grad():
            return [x.numpy() for x in module(torch.from_numpy(features), torch.from_numpy(mask))]

    return run


def to_onnx(program: Any, path: Path, names: Sequence[str]) -> Callable[[np.ndarray, np.ndarray], Outputs]:
    """Writes the ONNX graph, opens it in onnxruntime; a function from features and mask to outputs."""
    try:
        import onnx  # noqa: F401 - told now, in a sentence
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise KinoscopeError(
            f"{error.name} is not installed",
            field="--format",
            value="onnx",
            remedy="pip install 'kinoscope[export]'",
        ) from error
    graph = torch.onnx.export(program, dynamo=True, output_names=list(names), verbose=False)
    assert graph is not None
    graph.save(path)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda features, mask: session.run(list(names), {"features": features, "mask": mask})


def deviations(
    network: Graph,
    run: Callable[[np.ndarray, np.ndarray], Outputs],
    about: dict[str, Any],
    lengths: Sequence[int],
) -> dict[str, float]:
    """{length: largest difference from the network's own outputs}, on random features with a padded end."""
    channels, found = about["inputs"]["features"][1], {}
    random = np.random.default_rng(0)
    for length in lengths:
        real = max(length - about["padding"] * about["multiple_of"], 1)
        features, mask = padded_features(random.standard_normal((real, channels), np.float32), about)
        assert features.shape[2] == length
        with torch.no_grad():
            own = network(torch.from_numpy(features), torch.from_numpy(mask))
        pairs = zip(own, run(features, mask), strict=True)
        worst = max(float(np.abs(a.numpy() - b).max()) for a, b in pairs)
        found[str(length)] = worst
        if not math.isfinite(worst) or worst > TOLERANCE:
            raise KinoscopeError(
                f"the exported graph deviates by {worst:.2g} from the network at {length} steps",
                field="--format",
                remedy="this is a fault of the export or of the runtime; please report it with the recipe",
            )
    return found

"""Speed of the localization task at the sizes of the official figures (one core, quiet machine, medians).

Official: thumos_i3d forward 0.71 s, step of two 4.2 s; anet_tsp forward 0.027 s, step of sixteen 0.61 s;
ego4d S+O+E forward 1.10 s, step of two 9.0 s at a peak of 5.4 GB; soft-NMS in C++ 0.029 s (THUMOS) and
0.027 s (EPIC); evaluation 13.0 s; fusion 0.063 s.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Work, main
from kinoscope.engine.memory import tune_allocator
from kinoscope.localization import losses
from kinoscope.localization.models import Localizer, ModelConfig, localizer
from kinoscope.localization.parameter_groups import parameter_groups
from kinoscope.nn.recompute import set_recompute

EGO4D_RANGES = ((0, 4), *((2 ** (i + 1), 2 ** (i + 3)) for i in range(6)), (128, 10000))
EPIC_RANGES = ((0, 4), *((2 ** (i + 1), 2 ** (i + 3)) for i in range(4)), (32, 10000))
CONFIGS: dict[str, dict[str, Any]] = {
    "thumos_i3d": {"input_dim": 2048, "num_classes": 20, "n_mha_win_size": 19},
    "anet_tsp": {
        "input_dim": 512,
        "num_classes": 1,
        "max_seq_len": 192,
        "n_mha_win_size": (7, 7, 7, 7, 7, -1),
        "embd_dim": 256,
        "fpn_dim": 256,
        "head_dim": 256,
        "use_abs_pe": True,
    },
    "epic_slowfast_verb": {
        "input_dim": 2304,
        "num_classes": 97,
        "n_mha_win_size": 9,
        "regression_range": EPIC_RANGES,
    },
    "ego4d_slowfast_omnivore_egovlp": {
        "input_dim": (2304, 1536, 256),
        "num_classes": 110,
        "max_seq_len": 1024,
        "backbone_arch": (2, 2, 7),
        "regression_range": EGO4D_RANGES,
        "n_mha_win_size": 9,
        "n_head": 16,
        "embd_dim": (256, 384, 384),
        "fpn_dim": 1024,
        "head_dim": 1024,
        "use_abs_pe": True,
        "dropout": 0.1,
    },
}


def _inputs(config: ModelConfig, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    channels = config.input_dim if isinstance(config.input_dim, int) else sum(config.input_dim)
    x_BCT = torch.randn(batch, channels, config.max_seq_len, generator=generator)
    return x_BCT, torch.ones(batch, 1, config.max_seq_len, dtype=torch.bool)


def inference(name: str) -> Work:
    config = ModelConfig(**CONFIGS[name])
    model, inputs = localizer(config).eval(), _inputs(config, 1)

    @torch.inference_mode()
    def work() -> object:
        return model(*inputs)

    return work


class TrainStep:
    """Forward, losses, backward, clipping, AdamW and moving average on a fixed batch."""

    def __init__(self, model: Localizer, config: ModelConfig, batch: int, recompute: bool) -> None:
        self.model, self.config, self.inputs = model.train(), config, _inputs(config, batch)
        set_recompute(model, recompute)
        generator = torch.Generator().manual_seed(0)
        starts = torch.rand(batch, 10, 1, generator=generator) * config.max_seq_len * 0.8
        lengths = 4 + torch.rand(batch, 10, 1, generator=generator) * 40
        self.segments = list(torch.cat([starts, starts + lengths], dim=2))
        self.labels = list(torch.randint(config.num_classes, (batch, 10), generator=generator))
        parameters = dict(model.named_parameters())
        groups = [
            {"params": [parameters[name] for name in names], "weight_decay": decay}
            for names, decay in zip(parameter_groups(model), (0.05, 0.0), strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-5, fused=True)
        self.averages = [p.detach().clone() for p in model.parameters()]
        self.normaliser, self.settings = losses.LossNormaliser(100.0), losses.LossSettings()

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        output = self.model(*self.inputs)
        points = torch.cat(self.model.point_generator([m.shape[1] for m in output.masks]))
        targets = losses.assign_batch(points, self.segments, self.labels, self.config.num_classes)
        loss = losses.localization_loss(output, *targets, self.normaliser, self.settings)
        del output
        loss["final_loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for average, p in zip(self.averages, self.model.parameters(), strict=True):
                average.lerp_(p, 0.001)


def train_step(name: str, batch: int, recompute: bool = False) -> Work:
    tune_allocator(spare=recompute)  # as the stage does
    config = ModelConfig(**CONFIGS[name])
    return TrainStep(localizer(config), config, batch, recompute)


SECOND = {  # the fork's second transformer with all that it brings, at the width and windows of the first
    "backbone_type": "convTransformerv2",
    "use_rope": True,
    "use_flash_attn": True,
    "use_swiglu": True,
    "use_rms_norm": True,
}


def transformer_step(second: bool, window: int) -> Work:
    """A training step of two sequences of 576 steps at THUMOS's width, by either generation of the backbone."""
    size = {"max_seq_len": 576, "n_mha_win_size": (window, 19, 19, 19, 19, -1)}
    config = ModelConfig(**CONFIGS["thumos_i3d"] | size | (SECOND if second else {}))
    return TrainStep(localizer(config), config, 2, recompute=False)


def soft_nms(count: int, classes: int, sigma: float, keep: int, diou: bool = False) -> Work:
    """Suppression of `count` random candidates, class by class."""
    import numpy as np

    from kinoscope.metrics.nms import batched_nms

    random = np.random.RandomState(0)
    start = random.uniform(0, 2304, count)
    segments = np.stack([start, start + random.uniform(1, 60, count)], 1).astype(np.float32)
    scores = random.uniform(0.001, 1, count).astype(np.float32)
    labels = random.randint(0, classes, count)
    options = {"min_score": 0.001, "max_seg_num": keep, "sigma": sigma, "use_diou_nms": diou}
    return lambda: batched_nms(segments, scores, labels, **options)


def peak_detection(pyramid: bool) -> Work:
    """Instants of 20 heat maps of 2304 steps with NMS of peaks; with those of the five coarser levels on request."""
    import numpy as np

    from kinoscope.localization.decode_arrays import instants

    random, strides = np.random.RandomState(0), [2**level for level in range(6)]
    levels = [random.normal(-3, 2, (2304 // stride, 20)).astype(np.float32) for stride in strides]
    settings = {"min_score": 0.001, "max_seg_num": 200, "peak_pyramid": pyramid}
    return lambda: instants(levels, strides, 2304, settings, 6.0)


def score_fusion() -> Work:
    """Fusion of 210 videos with 200 detections each with 200 video-level scores."""
    import numpy as np

    from kinoscope.localization.fusion import fuse_scores

    random = np.random.RandomState(0)
    video = np.repeat([f"v{i}" for i in range(210)], 200)
    start, score = random.uniform(0, 100, len(video)), random.uniform(0, 1, len(video))
    external = {f"v{i}": random.uniform(0, 1, 200) for i in range(210)}
    return lambda: fuse_scores(video, start, start + 5, score, external)


def inference_with_postprocessing(name: str) -> Work:
    """From features to the events of one video: network, decoding, suppression, seconds."""
    from kinoscope.localization.inference import predict_items
    from kinoscope.localization.items import Item, no_segments
    from kinoscope.localization.settings import Decode

    config = ModelConfig(**CONFIGS[name])
    model = localizer(config).eval()
    feats_CT = _inputs(config, 1)[0][0]
    item = Item("video", feats_CT, *no_segments(), 30.0, 320.0, 4.0, 16.0)
    decode = Decode(pre_nms_topk=2000, max_seg_num=200, min_score=0.001)
    names = [str(k) for k in range(config.num_classes)]
    return lambda: predict_items(model, config, [item], decode, names, torch.device("cpu"))


def ten_hours() -> Work:
    """From a feature file of EPIC's layout, 67,500 steps or ten hours, to its events; mind `peak_rss_mb`."""
    import tempfile
    import zipfile
    from pathlib import Path

    import numpy as np

    from kinoscope.localization.features import file_items
    from kinoscope.localization.inference import predict_items
    from kinoscope.localization.settings import Decode, FeatureData

    config = ModelConfig(**CONFIGS["epic_slowfast_verb"])
    model = localizer(config).eval()
    data = FeatureData(
        reader="epic", feat_stride=16, num_frames=32, default_fps=30, input_dim=config.input_dim
    )
    decode = Decode(pre_nms_topk=5000, max_seg_num=2000, min_score=0.001, nms_sigma=0.4)
    folder = tempfile.TemporaryDirectory()
    file, hour = Path(folder.name) / "day.npz", np.random.RandomState(0).standard_normal((6750, 2304))
    with zipfile.ZipFile(file, "w") as archive, archive.open("feats.npy", "w", force_zip64=True) as member:
        layout = {"descr": "<f4", "fortran_order": False, "shape": (67500, 2304)}
        np.lib.format.write_array_header_1_0(member, layout)
        for _ in range(10):  # piece by piece: writing must not be what takes the memory
            member.write(hour.astype(np.float32).tobytes())
    del hour
    names = [str(k) for k in range(config.num_classes)]

    def work() -> object:
        assert folder.name in str(file)  # keeps the folder
        items = file_items(file, data, 30.0, on_demand=True)
        return predict_items(model, config, items, decode, names, torch.device("cpu"))

    return work


def evaluation() -> Work:
    """mAP and Recall@kx of 210 videos with 200 detections each, in 20 classes."""
    import numpy as np

    from kinoscope.localization.evaluate import evaluate_events
    from kinoscope.timeline import Events

    random = np.random.RandomState(0)

    def events(rows: int) -> Events:
        video = np.repeat(np.array([f"v{i}" for i in range(210)], object), rows)
        start = random.uniform(0, 200, len(video))
        end = start + random.uniform(1, 20, len(video))
        label, score = random.randint(0, 20, len(video)), random.uniform(0, 1, len(video))
        return Events(video, start, end, label, score)

    truth, found = events(15), events(200)
    return lambda: evaluate_events(found, truth, "ego4d")


def plain_convolution() -> Work:
    """The machine's own: a convolution of THUMOS's size, 512 to 512 channels, kernel 3, 2304 steps."""
    weight, x_BCT = torch.randn(512, 512, 3), torch.randn(1, 512, 2304)
    return lambda: torch.nn.functional.conv1d(x_BCT, weight, padding=1)


def plain_product() -> Work:
    """The machine's own: a matrix product with as many operations as `plain_convolution`."""
    weight, x = torch.randn(512, 1536), torch.randn(1536, 2304)
    return lambda: weight @ x


SOE = "ego4d_slowfast_omnivore_egovlp"
OPERATIONS = {
    "thumos_i3d/inference_network": lambda: inference("thumos_i3d"),
    "thumos_i3d/inference_with_postprocessing": lambda: inference_with_postprocessing("thumos_i3d"),
    "thumos_i3d/train_step_batch2": lambda: train_step("thumos_i3d", 2),
    "anet_tsp/inference_network": lambda: inference("anet_tsp"),
    "anet_tsp/train_step_batch16": lambda: train_step("anet_tsp", 16),
    "epic_slowfast_verb/inference_network": lambda: inference("epic_slowfast_verb"),
    "epic_slowfast_verb/inference_10_hours": ten_hours,
    f"{SOE}/inference_network": lambda: inference(SOE),
    f"{SOE}/train_step_batch2": lambda: train_step(SOE, 2, recompute=True),
    "soft_nms/thumos_12000x20": lambda: soft_nms(12000, 20, 0.5, 200),
    "soft_nms/epic_30000x97": lambda: soft_nms(30000, 97, 0.4, 2000),
    "diou_nms/thumos_12000x20": lambda: soft_nms(12000, 20, 0.5, 200, diou=True),
    "diou_nms/epic_30000x97": lambda: soft_nms(30000, 97, 0.4, 2000, diou=True),
    "snapformer/peak_detection_2304x20": lambda: peak_detection(pyramid=False),
    "snapformer/peak_detection_with_pyramid": lambda: peak_detection(pyramid=True),
    "transformer/first_step_local": lambda: transformer_step(False, 19),
    "transformer/second_step_local": lambda: transformer_step(True, 19),
    "transformer/first_step_global_stem": lambda: transformer_step(False, -1),
    "transformer/second_step_global_stem": lambda: transformer_step(True, -1),
    "evaluate_map_recall/210x200": evaluation,
    "score_fusion/210x200": score_fusion,
    "machine/convolution_512x512x3x2304": plain_convolution,
    "machine/product_512x1536x2304": plain_product,
}

if __name__ == "__main__":
    main(OPERATIONS, __doc__)

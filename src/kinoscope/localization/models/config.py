"""What a localizer is built from: plain values under the published names (specification, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from kinoscope.errors import KinoscopeError

KINDS = ("LocPointTransformer", "SnapFormer", "TBTFormer", "TriDet")
BACKBONES = ("convTransformer", "convTransformerv2", "conv", "sgp")


@dataclass(frozen=True)
class ModelConfig:
    """The official `model` section and what `dataset` and `train_cfg` add to the network.

    Lengths are steps of the feature grid, widths channels. Beyond the official names: `n_kv_head`, `n_hidden`
    (documented by the fork, unreachable there), `head_version`, `heatmap_classes`, `rope_everywhere`; of TriDet
    `n_sgp_win_size`, `sgp_k` (its `k`), `reg_max` (its `num_bins`).
    """

    input_dim: int | tuple[int, ...] = 2304  # a tuple: parts with an embedding of their own
    num_classes: int = 97
    max_seq_len: int = 2304  # steps of a training sequence
    model_name: str = "LocPointTransformer"  # of KINDS
    backbone_type: str = "convTransformer"  # of BACKBONES
    fpn_type: str = "identity"  # identity, fpn, cs_fpn
    backbone_arch: tuple[int, int, int] = (2, 2, 5)  # embedding convolutions, stem blocks, branch blocks
    scale_factor: int = 2  # stride between levels
    regression_range: tuple[tuple[float, float], ...] = (
        (0, 4),
        (4, 8),
        (8, 16),
        (16, 32),
        (32, 64),
        (64, 10000),
    )  # of a level, in steps
    n_head: int = 4
    n_kv_head: int | None = None  # v2, plain attention: key and value heads; None: n_head
    n_mha_win_size: int | tuple[int, ...] = -1  # one for all or one a level; <= 1: global
    n_sgp_win_size: int = 1  # sgp: window of the narrow convolution, odd
    sgp_k: float = 5.0  # sgp: the wide convolution sees about k times (window + 1) steps
    n_hidden: int | None = None  # width inside a block's MLP; None: 4 * width (SwiGLU: 8/3)
    embd_kernel_size: int = 3
    embd_dim: int | tuple[int, ...] = 512
    embd_with_ln: bool = True
    fpn_dim: int = 512
    fpn_with_ln: bool = True
    fpn_start_level: int = 0
    head_dim: int = 512
    head_kernel_size: int = 3
    head_num_layers: int = 3  # with the output convolution
    head_with_ln: bool = True
    head_version: int = 1  # 2: deeper heads with skips
    max_buffer_len_factor: float = 6.0  # longest input / max_seq_len
    use_abs_pe: bool = False
    use_rel_pe: bool = False
    use_rope: bool = False
    rope_everywhere: bool = False  # rotary queries and keys in local and strided attention too
    use_flash_attn: bool = False  # plain attention by a fused kernel; False: by an explicit softmax
    use_swiglu: bool = False
    use_rms_norm: bool = False
    reg_max: int = 16  # TBTFormer, TriDet: largest offset that a boundary's distribution can hold, in strides
    heatmap_classes: bool = False  # SnapFormer: a heat map a class; False: one for all
    dropout: float = 0.0
    droppath: float = 0.1  # 0: no gains either
    cls_prior_prob: float = 0.01
    head_empty_cls: tuple[int, ...] = ()  # classes that start at a probability of 1e-6

    def __post_init__(self) -> None:
        for name in ("regression_range", "backbone_arch", "n_mha_win_size", "head_empty_cls"):
            if isinstance(value := getattr(self, name), list):
                value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
                object.__setattr__(self, name, value)
        for name in ("input_dim", "embd_dim"):
            if isinstance(value := getattr(self, name), list | tuple):
                object.__setattr__(self, name, tuple(value) if len(value) > 1 else value[0])
        self._check()

    def _check(self) -> None:
        def wrong(problem: str, field: str, remedy: str) -> KinoscopeError:
            return KinoscopeError(problem, field=field, value=getattr(self, field), remedy=remedy)

        if self.model_name not in KINDS:
            raise wrong("unknown model", "model_name", f"one of {', '.join(KINDS)}")
        if self.backbone_type not in BACKBONES:
            raise wrong("unknown backbone", "backbone_type", f"one of {', '.join(BACKBONES)}")
        if self.fpn_type not in ("identity", "fpn", "cs_fpn"):
            raise wrong("unknown neck", "fpn_type", "identity, fpn or cs_fpn")
        if isinstance(self.n_mha_win_size, tuple) and len(self.n_mha_win_size) != 1 + self.backbone_arch[2]:
            raise wrong("one window a level", "n_mha_win_size", f"give {1 + self.backbone_arch[2]} windows")
        if len(self.regression_range) != self.backbone_arch[2] + 1 - self.fpn_start_level:
            raise wrong("one range a level", "regression_range", f"give {len(self.strides)} ranges")
        if isinstance(self.embd_dim, tuple) and (
            not isinstance(self.input_dim, tuple) or len(self.input_dim) != len(self.embd_dim)
        ):
            raise wrong("one width a part of input_dim", "embd_dim", "give both as lists of the same length")
        if self.fpn_type == "identity" and self.fpn_dim != self.width:
            raise wrong("the identity neck keeps the width", "fpn_dim", f"set it to {self.width}")
        if self.backbone_type == "sgp" and self.n_sgp_win_size % 2 == 0:
            raise wrong("a convolution needs an odd window", "n_sgp_win_size", "1, 3, 5, ...")
        if self.width % self.n_head:
            raise wrong(
                f"the width {self.width} must be divisible by the heads", "n_head", "change one of them"
            )

    @property
    def width(self) -> int:
        """Channels of the backbone."""
        return sum(self.embd_dim) if isinstance(self.embd_dim, tuple) else self.embd_dim

    @property
    def windows(self) -> tuple[int, ...]:
        """Attention window of the stem and of every branch block."""
        if isinstance(self.n_mha_win_size, tuple):
            return self.n_mha_win_size
        return (self.n_mha_win_size,) * (1 + self.backbone_arch[2])

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between points, of every level of the neck."""
        return tuple(
            self.scale_factor**level for level in range(self.fpn_start_level, self.backbone_arch[2] + 1)
        )

    @property
    def max_length(self) -> int:
        """Longest input, in steps."""
        return int(self.max_seq_len * self.max_buffer_len_factor)

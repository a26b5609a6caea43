"""Backbones: an embedding and a pyramid of blocks (specification 4.2, 4.5, 11.1; TriDet's in `sgp.py`).

Input x_BTC and mask_BT; output a list of features [B, T / stride_l, D] and one of masks, fine to coarse.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from kinoscope.localization.models.attention import ConvAttention, PlainAttention
from kinoscope.localization.models.blocks import ConvBlock, TransformerBlock
from kinoscope.localization.models.config import ModelConfig
from kinoscope.localization.models.embedding import Embedding, Positions
from kinoscope.localization.models.sgp import SGPBlock

MakeBlock = Callable[[int, int], nn.Module]  # (stride, window) -> block


class Backbone(nn.Module):
    """Embedding, stem blocks at stride 1, branch blocks that each shorten the sequence."""

    def __init__(
        self, embedding: Embedding, positions: Positions | None, stem: nn.ModuleList, branch: nn.ModuleList
    ) -> None:
        super().__init__()
        self.embedding, self.positions = embedding, positions
        self.stem, self.branch = stem, branch

    def forward(
        self, x_BTC: Tensor, mask_BT: Tensor, start: int = 0, total: int | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """`start`, `total`: where x lies in a longer input, for the table of positions."""
        x_BTC = self.embedding(x_BTC, mask_BT)
        if self.positions is not None:
            x_BTC = self.positions(x_BTC, mask_BT, start, total)
        for block in self.stem:
            x_BTC, mask_BT = block(x_BTC, mask_BT)
        features, masks = [x_BTC], [mask_BT]
        for block in self.branch:
            x_BTC, mask_BT = block(x_BTC, mask_BT)
            features.append(x_BTC)
            masks.append(mask_BT)
        return features, masks


def backbone(config: ModelConfig) -> Backbone:
    """The backbone that `config.backbone_type` names."""
    transformer = config.backbone_type in ("convTransformer", "convTransformerv2")
    second = config.backbone_type == "convTransformerv2"
    embedding = Embedding(
        config.input_dim,
        config.embd_dim,
        config.embd_kernel_size,
        config.backbone_arch[0],
        norm=config.embd_with_ln,
        rms_norm=second and config.use_rms_norm,
    )
    positions = Positions(config.max_seq_len, config.width) if transformer and config.use_abs_pe else None
    make: MakeBlock
    if transformer:
        make = transformer_block_maker(config)
    elif config.backbone_type == "sgp":
        make = lambda s, _: sgp_block(config, s)  # noqa: E731
    else:
        make = lambda s, _: ConvBlock(config.width, s)  # noqa: E731
    stem_window, *branch_windows = config.windows
    stem = nn.ModuleList(make(1, stem_window) for _ in range(config.backbone_arch[1]))
    branch = nn.ModuleList(make(config.scale_factor, window) for window in branch_windows)
    return Backbone(embedding, positions, stem, branch)


def sgp_block(config: ModelConfig, stride: int) -> SGPBlock:
    """A block of TriDet's pyramid."""
    return SGPBlock(
        config.width,
        stride,
        config.n_sgp_win_size,
        config.sgp_k,
        config.n_hidden,
        config.dropout,
        config.droppath,
    )


def transformer_block_maker(config: ModelConfig) -> MakeBlock:
    """Blocks of the first or second generation.

    In the second (specification 11.1) stride 1 with a global window gets plain attention; local windows get a
    relative bias if `use_rope`; other attention is that of the first generation.
    """
    second = config.backbone_type == "convTransformerv2"

    def make(stride: int, window: int) -> nn.Module:
        attention: ConvAttention | PlainAttention
        if second and window <= 1 and stride == 1:
            attention = PlainAttention(
                config.width,
                config.n_head,
                config.n_kv_head,
                rotate=config.use_rope,
                fused=config.use_flash_attn,
                dropout=config.dropout,
            )
        else:
            everywhere = second and config.use_rope and config.rope_everywhere
            attention = ConvAttention(
                config.width,
                config.n_head,
                stride,
                window,
                relative_bias=(config.use_rope and not everywhere if second else config.use_rel_pe),
                dropout=config.dropout,
                rotate=everywhere,
            )
        return TransformerBlock(
            attention,
            config.width,
            stride,
            hidden=config.n_hidden,
            dropout=config.dropout,
            drop_path=config.droppath,
            swiglu=second and config.use_swiglu,
            rms_norm=second and config.use_rms_norm,
        )

    return make

"""S-GEAR: frames or frame features in, scores of the next action out.

Zhou et al. S-GEAR (arXiv 2407.02309), sections 3.2 to 3.4.

Differences from the official code:
1. Batches and clips of one sample or one frame work; the official squeezing loses their axes.
2. `reference_quirks=False` corrects four things at once: see `temporal_context` and `prototypes`. A prediction then
   depends on its own sample alone; with one prototype a frame, what a frame becomes depends on earlier frames alone,
   clips may be of any length up to `num_frames`, and `advance` goes on frame by frame.
3. The multi-modal branch, the feature mix-up and the four-step roll-out cannot run there and are not here.
4. Work whose result nobody asks for is left out: `with_past=False` spares the outputs of past frames, and all
   but the class tokens of the last temporal block where `backbone_mean` is not wanted.

Shapes: B batch, T frames, N tokens of a frame, C width (`intermediate_featdim`), A classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinoscope.anticipation.models.decoder import Cache, CausalDecoder, DecoderConfig
from kinoscope.anticipation.models.prototypes import PrototypeAttention, cosine, select_prototypes
from kinoscope.anticipation.models.temporal_context import TemporalContextBlock

IDENTITY = "identity"


@dataclass(frozen=True)
class AnticipatorConfig:
    """What an `Anticipator` is built from; names as published.

    num_classes: classes of each head; the prototypes are those of `action`, without it of the last. backbone: a timm
    ViT, or `identity` for features of width backbone_dim. fan_in_initialisation: linear maps start with deviation
    1/sqrt(inputs); the official constants (0.01, 0.02) are made for widths of 768 and 2048 and leave narrow networks
    almost without signal. reference_quirks: official numerics.
    """

    num_classes: Mapping[str, int]
    num_frames: int = 15
    backbone: str = IDENTITY
    backbone_dim: int = 768
    intermediate_featdim: int = 768
    tca_blocks: int = 0
    prot_attn: bool = True
    mean_representation: bool = True
    transform_features: bool = False
    dropout: float = 0.2
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    fan_in_initialisation: bool = False
    reference_quirks: bool = True

    @property
    def pixels(self) -> bool:
        return self.backbone != IDENTITY

    @property
    def causal(self) -> bool:
        """No frame is changed by a later one."""
        return not (self.reference_quirks or (self.mean_representation and self.prot_attn))

    @property
    def prototypes(self) -> int:
        """How many prototypes there are: the classes of the head `action`, or of the last one."""
        return self.num_classes.get("action", list(self.num_classes.values())[-1])


def resize_prototypes(prototypes_AC: Tensor, width: int) -> Tensor:
    """(A, C0) to (A, width), bilinearly as an image, where the widths differ."""
    if prototypes_AC.shape[1] == width:
        return prototypes_AC
    size = (len(prototypes_AC), width)
    return F.interpolate(prototypes_AC[None, None], size, mode="bilinear", align_corners=False)[0, 0]


class Anticipator(nn.Module):
    """The whole network. `forward` returns the official end points by name."""

    def __init__(self, config: AnticipatorConfig, prototypes: Tensor | None = None) -> None:
        """prototypes: (A, any width), the visual prototypes to start from; random unit vectors without."""
        super().__init__()
        self.config = config
        width = config.intermediate_featdim
        if prototypes is None:
            prototypes = F.normalize(torch.randn(config.prototypes, width), dim=-1)
        if len(prototypes) != config.prototypes:
            raise ValueError(f"{len(prototypes)} prototypes for {config.prototypes} classes")
        self.prototypes = nn.Parameter(resize_prototypes(prototypes.float(), width).clone())
        self.mixture_gate = nn.Parameter(torch.full((1,), 0.5))
        self.frame_gate = nn.Parameter(torch.full((1,), 0.5))
        if config.pixels:
            import timm

            self.backbone: Any = timm.create_model(config.backbone, pretrained=False, num_classes=0)
        quirks, frames = config.reference_quirks, config.num_frames
        self.temporal_context = nn.ModuleList(
            TemporalContextBlock(config.backbone_dim, frames, quirks) for _ in range(config.tca_blocks)
        )
        if config.prot_attn:
            self.prototype_attention = PrototypeAttention(width, frames, quirks, config.causal)
        if config.backbone_dim != width:
            self.to_width = nn.Linear(config.backbone_dim, width, bias=False)
        self.decoder = CausalDecoder(width, config.decoder)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in config.num_classes.items()})
        if config.transform_features:
            self.transform = nn.Sequential(
                nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
            )
        self._initialise()

    def _initialise(self) -> None:
        """Every linear map but GPT-2's own: N(0, 0.01^2), no bias; the backbone's weights are loaded later."""
        if self.config.fan_in_initialisation:
            self._initialise_by_fan_in()
            return
        body = set(self.decoder.transformer.modules())
        for module in self.modules():
            if isinstance(module, nn.Linear) and module not in body:
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _initialise_by_fan_in(self) -> None:
        """Every linear map: N(0, 1/inputs), no bias; those that end a residual branch of the decoder smaller."""
        branches = (2 * self.config.decoder.n_layer) ** -0.5
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                last = name.startswith("decoder.transformer.") and name.endswith(
                    ("attention.out", "contract")
                )
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * (branches if last else 1.0))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self,
        video: Tensor,
        with_past: bool = True,
        with_tokens: bool = False,
        target_shape: tuple[int, ...] = (),
        lengths: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """video: pixels (B, T, 3, 1, H, W) or (B, T, crops, 3, 1, H, W), or features (B, T, D[, 1, 1, 1]).

        Crops are run one by one and every output is averaged over them (logits, not probabilities). with_past adds
        `past_logits/<head>` and `similarities_past`; with_tokens adds `backbone` and `backbone_mean`. lengths (B,), of
        features of a causal network: clips are filled up behind, and each ends with its own last frame.
        """
        if not self.config.pixels:
            x_BTC, standardised = self._features(video.flatten(2))
            out = self._rest(x_BTC, x_BTC, with_past, target_shape, lengths)
            return out | {"past_mean_representation": standardised.mean(dim=1)}
        if video.ndim == 6:
            return self._pixels(video, with_past, with_tokens, target_shape)
        crops = [self._pixels(crop, with_past, with_tokens, target_shape) for crop in video.unbind(dim=2)]
        return {name: torch.stack([crop[name] for crop in crops]).mean(dim=0) for name in crops[0]}

    # -- the two ways in --------------------------------------------------------------------------------------

    def _features(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        x = self.to_width(x_BTD) if hasattr(self, "to_width") else x_BTD
        if self.config.prot_attn:
            p = self.prototypes.detach()
            x = (x - p.mean()) / p.std()
        if self.config.transform_features:
            x = x + self.transform(x)
        return x, x

    def _pixels(
        self, video_BTCHW: Tensor, with_past: bool, with_tokens: bool, target_shape: tuple[int, ...]
    ) -> dict[str, Tensor]:
        batch, frames = video_BTCHW.shape[:2]
        features: Any = self.backbone.forward_features
        tokens_FNC = features(video_BTCHW.flatten(0, 1).squeeze(2))
        mixed = tokens_FNC
        for i, block in enumerate(self.temporal_context):
            mixed = block(mixed, first_token_only=i + 1 == self.config.tca_blocks and not with_tokens)
        f, g = mixed[:, 0], tokens_FNC[:, 0]
        if hasattr(self, "to_width"):
            f, g = self.to_width(f), self.to_width(g)
        f_BTC, g_BTC = f.view(batch, frames, -1), g.view(batch, frames, -1)
        out = self._rest(f_BTC, g_BTC, with_past, target_shape)
        out["future_agg"] = out["future"]
        if with_tokens:
            out |= {"backbone": tokens_FNC, "backbone_mean": mixed.mean(dim=-1)}
        return out

    # -- what both share --------------------------------------------------------------------------------------

    def _rest(
        self,
        f_BTC: Tensor,
        g_BTC: Tensor,
        with_past: bool,
        target_shape: tuple[int, ...],
        lengths: Tensor | None = None,
    ) -> dict[str, Tensor]:
        config, pixels = self.config, self.config.pixels
        f = f_BTC
        if config.prot_attn:
            tokens = select_prototypes(
                g_BTC, self.prototypes, config.mean_representation, config.reference_quirks
            )
            gate = self.frame_gate.sigmoid()
            f = gate * f + (1 - gate) * self.prototype_attention(tokens, f)
        decoded = self.decoder(f, target_shape, lengths)
        out = {
            "future_z": decoded.future,
            "past": decoded.past_BTC,
            "aux/feat": decoded.feature_error_BTC,
            "past_mean_representation": f.mean(dim=1),
        }
        mixed, similarities = self._mix(decoded.future)
        # With features the semantic loss moves the prototypes alone.
        out["similarities"] = similarities if pixels else cosine(decoded.future.detach(), self.prototypes)
        out["future"] = mixed
        out |= {f"logits/{name}": head(self.dropout(mixed)) for name, head in self.heads.items()}
        if with_past:
            out |= self._past(decoded.past_BTC, g_BTC)
        return out

    def _past(self, past_BTC: Tensor, g_BTC: Tensor) -> dict[str, Tensor]:
        pixels = self.config.pixels
        mixed, similarities = self._mix(past_BTC)
        if self.config.prot_attn:
            similarities = cosine(g_BTC, self.prototypes if pixels else self.prototypes.detach())
        elif not pixels:
            similarities = cosine(past_BTC.detach(), self.prototypes)
        out = {f"past_logits/{name}": head(self.dropout(mixed)) for name, head in self.heads.items()}
        return out | {"similarities_past": similarities}

    def _mix(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors blended with their softmax mixture of prototypes, and their cosines."""
        similarities = cosine(x, self.prototypes)
        values = self.prototypes.detach() if self.config.pixels else self.prototypes
        mixture = (similarities / self.config.backbone_dim**0.5).softmax(dim=-1) @ values
        gate = self.mixture_gate.sigmoid()
        return gate * x + (1 - gate) * mixture, similarities

    # -- frame by frame -----------------------------------------------------------------------------------------

    def advance(self, frame_BD: Tensor, memory: Memory | None = None) -> tuple[dict[str, Tensor], Memory]:
        """One more frame of features (B, D): `logits/<head>` as `forward` gives them for the clip so far, and what to
        hand back with the next frame. The old memory stays as it is. A causal network only (ValueError)."""
        if not self.config.causal or self.config.pixels:
            raise ValueError("this network looks at a clip as a whole")
        x, _ = self._features(frame_BD.unsqueeze(1))
        tokens, frames = x, x
        if self.config.prot_attn:
            tokens = select_prototypes(x, self.prototypes, mean_representation=False, quirks=False)
            if memory is not None:
                tokens, frames = torch.cat((memory.tokens, tokens), 1), torch.cat((memory.frames, frames), 1)
            gate = self.frame_gate.sigmoid()
            x = gate * x + (1 - gate) * self.prototype_attention(tokens, frames, last=1)
        future, cache = self.decoder.step(x[:, 0], None if memory is None else memory.cache)
        mixed, _ = self._mix(future)
        out = {f"logits/{name}": head(self.dropout(mixed)) for name, head in self.heads.items()}
        return out, Memory(tokens, frames, cache)


@dataclass(frozen=True)
class Memory:
    """What `Anticipator.advance` knows of the frames so far: prototypes and vectors (B, T, C), decoder cache."""

    tokens: Tensor
    frames: Tensor
    cache: Cache

"""Networks of the representation task: tensors and masks in, frame embeddings out."""

from kinoscope.representation.models.conv import ConvEmbedder
from kinoscope.representation.models.encoder import FrameEncoder, build_encoder
from kinoscope.representation.models.poses import PoseTrunk
from kinoscope.representation.models.transformer import TransformerEmbedder

__all__ = ["ConvEmbedder", "FrameEncoder", "PoseTrunk", "TransformerEmbedder", "build_encoder"]

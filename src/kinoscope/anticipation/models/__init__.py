"""Networks of S-GEAR: tensors in, tensors out."""

from kinoscope.anticipation.models.anticipator import Anticipator, AnticipatorConfig
from kinoscope.anticipation.models.decoder import CausalDecoder, DecoderConfig
from kinoscope.anticipation.models.prototypes import PrototypeAttention, select_prototypes
from kinoscope.anticipation.models.temporal_context import TemporalContextBlock

__all__ = [
    "Anticipator",
    "AnticipatorConfig",
    "CausalDecoder",
    "DecoderConfig",
    "PrototypeAttention",
    "TemporalContextBlock",
    "select_prototypes",
]

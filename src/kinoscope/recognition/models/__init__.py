"""The networks of the recognition room: plain modules, tensors in, tensors out."""

from kinoscope.recognition.models.adafocus import AdaFocus, Choice
from kinoscope.recognition.models.adafocus_v2 import AdaFocusV2
from kinoscope.recognition.models.tsm import AdaFocusTsm
from kinoscope.recognition.models.uni_adafocus import UniAdaFocus

__all__ = ["AdaFocus", "AdaFocusTsm", "AdaFocusV2", "Choice", "UniAdaFocus"]

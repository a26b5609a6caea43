"""What `kinoscope check` says about a recipe of this task and its data, before training."""

from __future__ import annotations

import numpy as np

from kinoscope.anticipation.class_names import TRIGRAMS, vectors
from kinoscope.anticipation.settings import AnticipationSettings
from kinoscope.anticipation.streams import StreamSource
from kinoscope.errors import KinoscopeError


def check(settings: AnticipationSettings) -> dict[str, list[str]]:
    """Sentences: errors must be mended, warnings looked at, advice may be followed."""
    found: dict[str, list[str]] = {"errors": [], "warnings": [], "advice": []}
    data, model, train = settings.streams, settings.model, settings.train
    try:
        source = StreamSource(data)
    except KinoscopeError as error:
        found["errors"].append(str(error))
        return found
    names = source.label_names
    for name, why in source.skipped.items():
        found["warnings"].append(f"{name} is left out: {why}.")
    if not source.test_rows:
        found["errors"].append("There is no annotated action to test on; name another data.test.")
    known = {label for order in source.train_orders() for label in order}
    unseen = sorted({label for order in source.test_orders() for label in order} - known)
    if unseen:
        found["warnings"].append(
            f"These actions are tested but never trained: {', '.join(names[k] for k in unseen)}."
        )
    if model.prot_attn and model.mean_representation and data.num_frames > len(names):
        found["errors"].append(
            f"{data.num_frames} steps ask for as many prototypes, there are {len(names)} classes: set "
            "model.mean_representation=false or shorten data.tau_o."
        )
    if train.batch_size > len(source.rows):
        found["warnings"].append(
            f"A batch of {train.batch_size} is larger than the {len(source.rows)} training actions: lower "
            "train.batch_size."
        )
    starts = [float(s[0]) / track.fps for track in source.tracks for s in track.segments]
    early = float(np.mean([start < data.tau_a for start in starts]))
    if early > 0.25:
        found["warnings"].append(
            f"{100 * early:.0f} % of the actions start before data.tau_a={data.tau_a:g} s of their stream have "
            "passed: nothing can be observed before them."
        )
    longest = max(len(track.features) / track.fps for track in source.tracks)
    if data.tau_o > 1.5 * longest:
        found["advice"].append(
            f"data.tau_o={data.tau_o:g} s is much longer than the longest stream ({longest:.0f} s): a shorter "
            "window trains faster."
        )
    if vectors(names)[1] == TRIGRAMS:
        found["advice"].append(
            "No language vectors are shipped for these class names: letter trigrams stand in for them."
        )
    return found

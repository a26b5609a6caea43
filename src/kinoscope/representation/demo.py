"""The demo of representation: CARL on the built-in HDM05 clips without labels, beside features that learn nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kinoscope.engine.folder import train_stages
from kinoscope.recipe import to_yaml
from kinoscope.report import write
from kinoscope.representation.stages import stages
from kinoscope.tasks import load_recipe

RECIPE = "representation/carl_motions"


def demo(folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Trains on three actors, judges on the fourth, prints Kendall's tau by class, writes the report."""
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
    return {
        "summary": f"Kendall's tau {taus['CARL']:.3f}, poses with velocity {taus['poses_with_velocity']:.3f}",
        "report": str(write(folder)),
        "kendalls_tau": taus,
        "per_class": {who: row["kendalls_tau_per_class"] for who, row in rows.items()},
    }

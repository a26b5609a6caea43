"""The packaged data: present, licensed, small."""

import pytest

from kinoscope import builtin
from kinoscope.errors import KinoscopeError


@pytest.mark.parametrize("name", builtin.NAMES)
def test_every_data_set_has_its_licence_and_origin(name):
    place = builtin.path(name)
    folder = place if place.is_dir() else place.parent
    assert place.exists()
    assert len((folder / "LICENSE").read_text()) > 500
    readme = (folder / "README.md").read_text()
    assert "Origin:" in readme
    assert "Changes to the original" in readme


def test_share_alike_data_is_kept_apart():
    folders = {f.parent.name for f in builtin.ROOT.rglob("LICENSE") if "ShareAlike" in f.read_text()}
    assert folders == {"hdm05_11"}


def test_the_package_stays_small():
    size = sum(f.stat().st_size for f in builtin.ROOT.rglob("*") if f.is_file())
    assert size < 10_000_000


def test_videos_and_names():
    assert len(builtin.videos("asl")) == 20
    assert [v.stem for v in builtin.videos("multiview_small")] == ["cam01", "cam02", "cam03", "cam04"]
    assert builtin.resolve("builtin:precog16") == builtin.path("precog16")
    with pytest.raises(KinoscopeError, match="precog16"):
        builtin.path("precog")

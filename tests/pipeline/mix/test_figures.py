"""Figures of a mix: readable for two sources and for many, the same bytes each time, and never a reason why a build fails."""

import io
import random
import sys

import pytest
from PIL import Image

from pipeline.mix.figures import draw_figures

_NAMES = ["laion", "a source with a rather long name, longer than any label", "$x$ & <b>", "中文资料", "العربية"]


def _values(sources, shards=3, stretches=100):
    """Report values, as far as figures look at them: Zipf shares, which vary a little along the mix."""
    draw = random.Random(sources).uniform
    names = [f"{_NAMES[n % len(_NAMES)]} {n}" for n in range(sources)]
    rows = {name: [round(10_000 / (n + 1) * draw(0.9, 1.1)) for _ in range(stretches)] for n, name in enumerate(names)}
    whole = [sum(column) for column in zip(*rows.values(), strict=True)]
    size = [100_000_000 + 1_000 * n for n in range(shards)]
    return {
        "sources": [
            {"name": name, "drawn": sum(of), "share": sum(of) / sum(whole), "wanted_share": 1.1 * sum(of) / sum(whole)}
            for name, of in rows.items()
        ],
        "along": {"rows": whole, "by_source": rows},
        "per_shard": {"size": size, "new": [one // 50 for one in size]},
        "bytes": {"published": sum(size), "uploaded": sum(size) // 50},
    }


@pytest.mark.parametrize(("sources", "shards"), [(1, 1), (14, 40), (185, 2_000)])
def test_figures_fit_a_page_whatever_the_mix_has(sources, shards):
    """Three PNG of a page's width and at most its height, under 100 KB."""
    drawn = draw_figures(_values(sources, shards))
    assert set(drawn) == {"shares.png", "order.png", "upload.png"}
    for data in drawn.values():
        width, height = Image.open(io.BytesIO(data)).size
        assert 800 < width < 1_300
        assert 100 < height < 700
        assert len(data) < 100_000


def test_the_figures_show_the_numbers_and_nothing_else():
    """Drawn again, they are the same bytes; another wish, another order along the mix, more bytes uploaded: each shows."""
    before = draw_figures(_values(3))
    assert draw_figures(_values(3)) == before
    changed = _values(3)
    changed["sources"][0]["wanted_share"] = 0.1
    changed["along"]["by_source"] = {name: rows[::-1] for name, rows in changed["along"]["by_source"].items()}
    changed["along"]["rows"].reverse()
    changed["per_shard"]["new"][1] *= 20
    after = draw_figures(changed)
    assert [name for name in before if after[name] == before[name]] == []


def test_what_is_not_known_is_not_drawn():
    """A mix that was not counted along its order, in a folder, has its shares only."""
    values = _values(2)
    values["along"]["by_source"] = None
    values["bytes"]["uploaded"] = None
    assert set(draw_figures(values)) == {"shares.png"}


def test_without_matplotlib_there_are_no_figures(monkeypatch):
    """The extra is not installed: nothing is drawn, nothing fails."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_figures(_values(2)) == {}

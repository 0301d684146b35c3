"""Published latencies: read right, and predicted as well as they can be."""

import os
from pathlib import Path

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.costs.latency.predictor import ABSENT, fit_additive, fit_predictor, rank

DATA = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas"
here = pytest.mark.skipif(not DATA.is_dir(), reason="point RENASCENT_DATA at the folder of nas/")
SUMS = ("pixel3", "raspi4", "fpga", "eyeriss")
"""Devices whose FBNet latencies are sums over blocks."""
READERS = ("proxyless_table", "once_for_all_table", "fbnet_networks", "once_for_all_networks")


@pytest.fixture(scope="module")
def published(script):
    return script("published_latency")


def test_features_of_a_block_are_its_counts(published):
    """By hand: 8 to 16 channels through 24, 4 x 4 to 2 x 2, kernel 3."""
    x, line = published.block_features((published.Block(8, 24, 16, 4, 4, 3, 2, False, True, False),))
    macs, deep = 8 * 24 * 16 + 24 * 16 * 4, 24 * 9 * 4
    moved = 4 * (8 * 24 + 24 * 16 + 8 * 16 + 2 * 24 * (16 + 4) + 16 * 4)
    assert line[0] == pytest.approx([1, macs / 1e6, moved / 1e6, deep / 1e6])
    assert np.exp(x[0, 4:7]) == pytest.approx([macs, moved, deep])
    assert x[0, 8:].tolist() == [2, 0, 1, 0]


@pytest.mark.parametrize("name", READERS)
def test_a_folder_without_them_is_told(published, name, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        getattr(published, name)(tmp_path)


@here
def test_tables_of_blocks_are_read(published):
    proxyless, ofa = published.proxyless_table(DATA), published.once_for_all_table(DATA)
    assert (len(proxyless.blocks), len(ofa.blocks)) == (69, 845)
    at = proxyless.blocks.index(published.Block(16, 48, 24, 112, 112, 3, 2, False, False, False))
    assert proxyless.latency_ms[at] == pytest.approx(5.608820512820512)
    at = ofa.blocks.index(published.Block(96, 384, 136, 14, 14, 3, 1, False, True, True))
    assert 1.0 < ofa.latency_ms[at] < 2.0


@here
def test_half_of_a_table_predicts_the_other(published):
    assert published.block_error(published.proxyless_table(DATA), 0.5).median < 0.05
    error = published.block_error(published.once_for_all_table(DATA), 0.2)
    assert error.median < 0.02 and error.spearman > 0.99


@here
def test_an_additive_fit_is_exact_where_the_device_is_a_sum(published):
    """To the rounding of the float32 that are published."""
    nets = published.fbnet_networks(DATA)
    assert len(nets.latency_ms) == 27
    for device in SUMS:
        y = nets.latency_ms[device]
        off = np.abs(fit_additive(nets.codes[:4000], y[:4000]).predict(nets.codes[4000:]) / y[4000:] - 1)
        assert off.max() < 2 * np.finfo(np.float32).eps, device


@here
def test_whole_networks_are_read_and_predicted(published):
    nets = published.once_for_all_networks(DATA)
    assert len(nets.latency_ms) == 12 and nets.codes.shape == (5000, 21)
    depths = (nets.operators.kinds != ABSENT).reshape(5000, 5, 4).sum(2)
    assert set(np.unique(depths)) == {2, 3, 4}
    x, y = nets.operators.features()[:1500], nets.latency_ms["titan_rtx_64"][:1500]
    assert rank(fit_predictor(x[:1000], y[:1000]).predict(x[1000:]), y[1000:]) > 0.99


@here
def test_a_skipped_block_costs_nothing(published):
    nets = published.fbnet_networks(DATA)
    there = nets.operators.kinds != ABSENT
    assert (nets.operators.macs[~there] == 0).all() and (nets.operators.macs[there] > 0).all()
    assert there.mean() < 1

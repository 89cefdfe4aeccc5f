"""A market over three calendar years, and a folder with an encoder for the last two."""

import shutil

import kline_core as kl
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import market, write_encoder

FRAME = market(3, 330, seed=1, start="2020-11-02")
"""Sessions of November 2020 to February 2022."""
SEEDS = {2021: 5, 2022: 6}
SAMPLES = 120
"""About a third of each symbol's usable dates."""


def write_years(folder, seeds=SEEDS):
    """A folder as `kline train --market` writes it, without the training."""
    folder.mkdir(exist_ok=True)
    for year, seed in seeds.items():
        write_encoder(folder / f"{year}.safetensors", seed, trained_through=f"{year - 1}-12-31")
    return folder


def bench_of(folder, home, weights):
    """The home copied into a folder, and its patterns by these weights."""
    bench = Bench(Home(shutil.copytree(home.folder, folder)), SMALL_SETTINGS, weights)
    bench.extend()
    return bench


def dates_of(frame, since, until):
    """Dates of a result's frame, by symbol."""
    inside = frame[(frame["date"] >= since) & (frame["date"] <= until)]
    return {symbol: part["date"].tolist() for symbol, part in inside.groupby("symbol")}


def computed(bench, cluster, **request):
    """The result of a run that is not judged."""
    asked = {"samples": SAMPLES, "check": False, "device": "cpu", "settings": bench.settings, "encoder": bench.weights}
    return kl.compute_factor(bench.home, cluster=cluster, **asked | request)

"""Results in other programs: what the README shows, run as it stands, with the real libraries."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kline_core as kl
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.cli.parser import main
from kline_core.encoder.synthetic import random_walk
from kline_core.evaluation.forward_returns import forward_returns
from kline_core.settings import Settings
from tests.support.homes import market

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(heading: str, language: str = "") -> str:
    """The first block of code of a language below a heading."""
    below = README.split(f"\n{heading}\n")[1]
    found = re.search(rf"^```{language}\n(.*?)^```$", below, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def akshare_files(folder: Path) -> None:
    """A folder of three stocks as AkShare's `stock_zh_a_hist` saves them."""
    folder.mkdir()
    names = {"date": "日期", "open": "开盘", "close": "收盘", "high": "最高", "low": "最低", "volume": "成交量"}
    for at, (_, bars) in enumerate(random_walk(3, 300, seed=4).to_frame("2022-01-04", "S").groupby("symbol")):
        frame = bars[list(names)].rename(columns=names).assign(成交额=1e6, 股票代码=f"60051{at}")
        frame.to_csv(folder / f"60051{at}.csv", index=False, encoding="utf-8-sig")


@pytest.mark.slow
def test_from_akshare_to_duckdb_in_three_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    akshare_files(tmp_path / "akshare")
    commands = [shlex.split(line) for line in block("## Results out").splitlines()]
    assert len(commands) == 3
    for words in commands[:2]:
        assert words[0] == "kline"
        assert main([str(Path(word).expanduser()) if word.startswith("~") else word for word in words[1:]]) == 0
    assert commands[2][:2] == ["python", "-c"]
    done = subprocess.run([sys.executable, *commands[2][1:]], capture_output=True, text=True, check=True)
    values = kl.read_factor("my-home").values
    assert values.groupby("asset").size().gt(100).to_dict() == {f"60051{at}.SH": True for at in range(3)}
    assert re.search(rf"{len(values):,} rows|{len(values)} rows", done.stdout)
    # Some of the rows, in no set order.
    assert re.search(r"60051\d\.SH", done.stdout)


@pytest.fixture(scope="module")
def common_days(tmp_path_factory, small_weights):
    """A home, its settings and values of eight symbols on forty common days; a dividend in between."""
    bars = market(8, 110)
    bars.loc[bars.groupby("symbol").cumcount() > 80, "adj_factor"] = 1.1
    home = kl.Home(tmp_path_factory.mktemp("alphalens") / "home", create=True)
    kl.ingest(home, bars.drop(columns=["suspended", "amount"]))
    settings = Settings(
        kl.PatternSettings(window_bars=5, horizons=(1, 5), barrier_bars=4),
        kl.FactorSettings(isolation_bars=5, return_horizon=5),
    )
    kl.update_patterns(home, settings=settings.patterns, encoder=small_weights, device="cpu")
    days = sorted(set(bars["date"]))[50:90]
    dates = dict.fromkeys(sorted(set(bars["symbol"])), days)
    result = kl.compute_factor(home, dates=dates, settings=settings, encoder=small_weights, device="cpu", threads=2)
    return home, settings, result


@pytest.mark.slow
def test_duckdb_and_polars_read_the_tables(common_days, tmp_path, monkeypatch, capsys):
    shutil.copytree(common_days[0].uri, tmp_path / "my-home")
    monkeypatch.chdir(tmp_path)
    code = block("### DuckDB and Polars", "python")
    seen: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), seen)
    values = kl.read_factor("my-home").values.dropna()
    assert f"shape: ({len(values)}, 3)" in capsys.readouterr().out
    duckdb, files = seen["duckdb"], seen["files"]
    rows = duckdb.sql(f"SELECT symbol, date, value FROM read_parquet({files}, union_by_name=true)").fetchall()
    found = {(pd.Timestamp(day), symbol): value for symbol, day, value in rows if value is not None}
    assert found == values.to_dict()


@pytest.fixture(scope="module")
def factor_data(common_days):
    result = common_days[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from alphalens.utils import get_clean_factor_and_forward_returns

        return get_clean_factor_and_forward_returns(
            result.values, result.prices, quantiles=3, periods=(1, 5), max_loss=1
        )


@pytest.mark.slow
@pytest.mark.long
def test_alphalens_measures_the_returns_that_evaluate_measures(common_days, factor_data):
    home, settings, result = common_days
    frames = bars_by_symbol(home.read("bars"))
    ours = {}
    for symbol, bars in frames.items():
        joined = forward_returns(home.read("factors", symbols=[symbol]), bars, settings)
        for day, returns in zip(joined.dates, joined.forward, strict=True):
            ours[pd.Timestamp(day), symbol] = returns
    assert len(factor_data) == len(result.values.dropna()) == 320
    for key, row in factor_data.iterrows():
        np.testing.assert_allclose(row[["1D", "5D"]].to_numpy(float), ours[key], atol=2**-25)
        assert row["factor"] == result.values[key]


# alphalens 0.5.1 and seaborn 0.13 use what pandas 3.1 and matplotlib will take away.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_alphalens_draws_its_tear_sheet(common_days, tmp_path, monkeypatch, capsys):
    import matplotlib.pyplot as plt

    shutil.copytree(common_days[0].uri, tmp_path / "my-home")
    monkeypatch.chdir(tmp_path)
    exec(compile(block("### alphalens", "python"), "README.md", "exec"), {})
    plt.close("all")
    assert "Information Analysis" in capsys.readouterr().out


@pytest.mark.slow
def test_exported_folders_by_command(common_days, tmp_path, capsys):
    home, _, result = common_days
    assert main(["--home", home.uri, "--json", "export", str(tmp_path / "qlib"), "--format", "qlib"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["instruments"], said["left_out"]) == (320, 8, [])
    assert main(["--home", home.uri, "export", str(tmp_path / "al"), "--format", "alphalens"]) == 0
    factor, prices = (pd.read_parquet(tmp_path / "al" / name) for name in ("factor.parquet", "prices.parquet"))
    pd.testing.assert_series_equal(factor["factor"], result.values, check_index_type=False)
    pd.testing.assert_frame_equal(prices, result.prices, check_index_type=False)

"""A study as a person sees it: verdict, tables, page, command; and markets of known truth."""

import html
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kline_core as kl
from kline_core.cli.parser import main
from kline_core.compute.kept_folds import KeptFolds
from kline_core.encoder.synthetic import random_walk
from kline_core.errors import DateError, InputError, SettingError
from kline_core.learning import learners, protocol, study
from kline_core.learning.report import LEARNED
from kline_core.learning.study import checked_learners
from kline_core.plots.study_page import study_page
from tests.support.made_markets import noise_market
from tests.support.planted import planted_market
from tests.support.studies import bars_of, home_of

pytestmark = pytest.mark.slow
BARS = ["bars"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return home_of(tmp_path_factory.mktemp("study") / "home", bars_of(noise_market(3, symbols=8, sessions=520)))


def test_verdict_tables_page_and_kept_folds(home, tmp_path, monkeypatch, capsys):
    page, kept = tmp_path / "study.html", tmp_path / "kept"
    words = ["--home", home.uri, "study", "--every", "5", "--learner", "bars", "--keep", str(kept)]
    assert main([*words, "--html", str(page)]) == 0
    said, progress = capsys.readouterr()
    assert "bars 2016" in progress
    assert said.startswith("The learned factor's rank IC with the 5-bar return is ")
    for name in ("learned", "bars", "seed factor", "closes", "reversal_5", "momentum_20", "boosting", "boosting_ranks"):
        assert f"\n{name} " in said
    assert "Learner of each year, chosen by the years before it: 2016 bars" in said
    assert "<h1>The learned factor" in page.read_text()
    assert [path.name[:10] for path in kept.iterdir()] == ["bars-2016-"]

    def broken(*_):
        raise AssertionError("what is kept is not made again")

    monkeypatch.setattr(protocol, "answer_fold", broken)
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == said.splitlines()[0]
    assert [row["name"] for row in document["rows"]][:2] == ["learned", "bars"]
    # Of 2015 nothing is judged, though the simple methods have values there.
    assert document["first"] >= "2016-01-04"
    assert {year for row in document["rows"] for year in row["by_year"]} == {"2016"}
    # One learner: the learned factor is that one.
    assert document["rows"][0]["rank_ic"] == document["rows"][1]["rank_ic"]


def test_a_kept_fold_that_is_damaged_is_named(home, tmp_path):
    kl.study(home, every=12, learners=BARS, keep=tmp_path)
    (file,) = tmp_path.iterdir()
    # Another study keeps its own, in the same folder.
    kl.study(home, every=15, learners=BARS, keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    whole = pq.read_table(file)
    for damaged in (whole.slice(0, 1), whole.set_column(0, "value", pa.nulls(whole.num_rows, pa.float64()))):
        pq.write_table(damaged, file)
        with pytest.raises(SettingError, match=f"{file.name} cannot be read .*; remove it, and the fold is made again"):
            kl.study(home, every=12, learners=BARS, keep=tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SettingError, match=f"{file.name} cannot be read .*; remove it, and the fold is made again"):
        kl.study(home, every=12, learners=BARS, keep=tmp_path)


def test_what_cannot_be_studied_is_said(home, tmp_path):
    with pytest.raises(SettingError, match="learner 'magic' is not known; name one of bars, "):
        kl.study(home, learners=["magic"])
    with pytest.raises(SettingError, match="every is 0; it must be a whole number of at least 1"):
        kl.study(home, every=0)
    with pytest.raises(
        SettingError,
        match=r"^0 patterns were known before 2015-01-01, .* with others of their days are needed: ingest a",
    ):
        kl.study(home, last="2015-12-31", learners=BARS)
    with pytest.raises(
        DateError, match="no sample lies from 2030-01-01 to the last; the home's sessions are 2015-01-05"
    ):
        kl.study(home, first="2030-01-01", learners=BARS)
    with pytest.raises(InputError, match="the home holds no traded bar"):
        kl.study(kl.Home(tmp_path / "empty", create=True), learners=BARS)
    with pytest.raises(SettingError, match=r"keep is .*bars, which lies in the table"):
        KeptFolds(f"{home.uri}/bars", None, None)
    with pytest.raises(SettingError, match="embedded null byte"):
        KeptFolds("a\0b", None, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"keep is .*file.*, which cannot be used .*; name another folder"):
        KeptFolds(tmp_path / "file" / "x", None, None)
    assert checked_learners(["bars", "bars"]) == BARS


def test_a_learner_without_its_library_is_refused_before_others_take_their_time(monkeypatch):
    monkeypatch.setattr(study, "find_spec", lambda _: None)
    with pytest.raises(
        SettingError, match=r"scikit-learn: pip install '.\[baselines\]', or take others: --learner bars"
    ):
        checked_learners(learners.LEARNERS)
    assert checked_learners(["bars", "charts"]) == ["bars", "charts"]


def test_a_home_without_volumes_is_studied(tmp_path):
    frame = bars_of(noise_market(3, symbols=6, sessions=420)).assign(volume=np.nan)
    found = kl.study(home_of(tmp_path / "home", frame), every=5, learners=BARS)
    assert {row.name for row in found.rows if row.values} >= {"learned", "boosting", "boosting_ranks"}


@pytest.mark.long
def test_a_planted_signal_is_found(tmp_path):
    frame, _ = planted_market(12, 700, seed=1, tells=True)
    found = kl.study(home_of(tmp_path / "home", frame), every=2, learners=BARS)
    row = found.row(LEARNED)
    assert row.t > 4
    assert "distinguishable from noise" in found.verdict
    assert "not distinguishable" not in found.verdict
    assert found.verdict in html.unescape(study_page(found))


@pytest.mark.long
def test_noise_is_not_taken_for_a_signal(tmp_path, monkeypatch):
    """Twenty markets through the whole protocol, training included.

    Not those of `planted_market` whose plants tell nothing: in the midst of a rise its next bars are known.
    """
    monkeypatch.setattr(learners, "MOST_CHARTS", 1000)
    # They say nothing of the learned factor, and take most of the time.
    monkeypatch.setattr("kline_core.learning.study.BESIDE", ())
    scores = {"walks": [], "together": []}
    for seed in range(10):
        markets = {
            "walks": random_walk(12, 600, seed).to_frame(),
            "together": bars_of(noise_market(seed, symbols=12, sessions=600)),
        }
        for name, frame in markets.items():
            found = kl.study(home_of(tmp_path / f"{name}{seed}", frame), every=3)
            scores[name].append(found.row(LEARNED).t)
    for name, found in scores.items():
        mean = np.mean(found) * len(found) ** 0.5
        print(name, np.round(found, 2), f"z of the mean {mean:+.2f}")
        assert abs(mean) < 2

"""The command line as a person meets it: whole commands, what they print, and how they refuse."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kline_core.cli.parser import main
from kline_core.compute import standing
from kline_core.encoder.synthetic import random_walk
from kline_core.store.home import Home
from tests.support.command import ask, refused
from tests.support.homes import write_encoder

SYMBOLS, BARS = 3, 260


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    random_walk(SYMBOLS, BARS, seed=5).to_frame().to_csv(folder / "bars.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def home(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli") / "home"
    assert main(["--home", str(place), "ingest", str(plain)]) == 0
    assert main(["--home", str(place), "index"]) == 0
    return place


@pytest.mark.slow
def test_the_whole_path_accounts_for_every_row(capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "home")
    code, out, _ = ask(capsys, "--home", place, "--json", "ingest", str(plain))
    taken = json.loads(out)
    assert code == 0
    assert taken["read"] == taken["stored_new"] == SYMBOLS * BARS
    assert taken["rejected"] == 0

    code, out, _ = ask(capsys, "index", "--home", place, "--json")
    known = BARS - 19 - 21
    assert (code, json.loads(out)["added"]) == (0, SYMBOLS * known)
    assert "nothing to add" in ask(capsys, "index", "--home", place)[1]

    words = ["run", "--home", place, "--samples", "40", "--max-failed-share", "1"]
    code, out, _ = ask(capsys, *words, "--json")
    first = json.loads(out)
    assert code == 0
    assert first["samples"] == SYMBOLS * 40 == first["done"] + first["failed"]
    assert first["reused"] == 0
    assert sum(first["reasons"].values()) == first["failed"]
    again = json.loads(ask(capsys, *words, "--json")[1])
    assert (again["done"], again["failed"], again["reused"]) == (0, first["failed"], first["done"])
    assert again["reasons"] == first["reasons"]

    file = tmp_path / "out.parquet"
    assert ask(capsys, "export", "--home", place, str(file))[0] == 0
    values = pd.read_parquet(file)
    assert len(values) == SYMBOLS * 40
    assert list(values.columns[:6]) == ["symbol", "date", "value", "status", "reason", "matches"]
    assert (values["status"] == "ok").sum() == first["done"]
    assert values["value"].isna().equals(values["status"] == "failed")

    wide = tmp_path / "wide.csv"
    assert ask(capsys, "export", "--home", place, "--format", "wide", str(wide))[0] == 0
    table = pd.read_csv(wide, index_col="date")
    assert table.shape[1] == SYMBOLS
    assert table.count().sum() == first["done"]


@pytest.mark.slow
def test_run_says_what_it_did_for_a_person(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, out, _ = ask(capsys, "--home", str(home), "run", "SYN00001", "--samples", "9999", "--max-failed-share", "1")
    assert code == 0
    assert "1 symbols have fewer than 9999 usable dates, so all of theirs: SYN00001" in out
    assert f"{BARS - 19} samples" in out
    assert "too few matches" in out
    assert "seconds: " in out


@pytest.mark.slow
def test_an_approximate_index_says_what_it_finds_and_is_refused_where_that_is_too_little(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kline_core.factor import state

    few = SimpleNamespace(of=partial(state.IvfIndex.of, lists=64, trained=100))
    monkeypatch.setattr(state, "IvfIndex", few)
    words = ["--home", str(home), "run", "--samples", "20", "--max-failed-share", "1", "--index", "ivf"]
    line = refused(capsys, *words, "--probes", "1")
    assert "recall@5 of the approximate index is 0." in line
    assert "with probes 1, below min_recall 0.99; raise --probes" in line
    match = ["--home", str(home), "match", "SYN00000", "--index", "ivf", "--probes", "1"]
    assert "below min_recall 0.99" in refused(capsys, *match)
    assert ask(capsys, *match, "--min-recall", "0")[0] == 0

    code, out, _ = ask(capsys, *words, "--probes", "1", "--min-recall", "0")
    assert code == 0
    assert "index ivf with 1 probes: recall@5 0." in out
    code, out, _ = ask(capsys, "--json", *words, "--probes", "64")
    report = json.loads(out)
    assert code == 0
    assert report["recall"]["share"] == 1.0
    exact = json.loads(ask(capsys, "--json", *words[:-2])[1])
    assert exact["recall"] is None
    assert exact["fingerprint"] != report["fingerprint"]
    assert (exact["done"] + exact["reused"], exact["failed"]) == (report["done"], report["failed"])


@pytest.mark.slow
def test_chosen_dates_are_all_accounted_for(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    dates = tmp_path / "dates.csv"
    dates.write_text(
        "symbol,date\nSYN00000,2010-12-01\nSYN00000,2010-12-04\nSYN00001,1999-01-04\nSYN00002,2031-01-06\n"
    )
    words = ["--home", str(home), "--json", "run", "--dates", str(dates), "--max-failed-share", "1"]
    code, out, _ = ask(capsys, *words)
    report = json.loads(out)
    assert code == 0
    assert (report["samples"], report["done"], report["failed"]) == (4, 1, 3)
    assert report["reasons"] == {
        "no trading day of SYN00000 (the one before is 2010-12-03)": 1,
        "before the first bar (2010-01-04)": 1,
        "after the last bar (2010-12-31)": 1,
    }


@pytest.mark.slow
def test_too_many_failures_fail_the_run_but_keep_the_values(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    words = ["--home", str(home), "--json", "run", "--samples", "100", "--max-failed-share", "0"]
    code, out, line = ask(capsys, *words)
    report = json.loads(out)
    assert code == 1
    assert f"{report['failed']} of 300 samples failed" in line
    assert "too few matches" in line
    assert report["done"] + report["reused"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "NOPE"], "'NOPE' has no bars"),
        (["run", "../../x"], "'../../x' has no bars"),
        (["run", ""], "'' has no bars"),
        (["run", "a'b"], '"a\'b" has no bars'),
        (["run", "--samples", "0"], "samples is 0; it must be at least 1"),
        (["run", "--samples", "-5"], "samples is -5; it must be at least 1"),
        (["run", "--as-of", "yesterday"], "--as-of is 'yesterday'"),
        (["run", "--as-of", "2010-12-25"], "as-of 2010-12-25 is no trading day"),
        (["run", "--as-of", "1999-12-25"], "as-of 1999-12-25 lies outside the bars"),
        (["run", "--as-of", "2031-12-25"], "as-of 2031-12-25 lies outside the bars"),
        (["run", "--mode", "half"], "mode is 'half'; only 'fast', 'full' are available"),
        (["run", "--mode", "full", "--max-price-checks", "9"], "max_price_checks is 9; it must be at least top_k (10)"),
        (["evaluate", "--compare", "slow"], "compare is 'slow'; it must be a mode (fast, full) or a fingerprint"),
        (["evaluate", "--compare", "full", "--of", "many"], "--compare and --alphalens are of values"),
        (["evaluate", "--compare", "full", "--universe", "x"], "leave --universe away"),
        (["run", "--top-k", "0"], "top_k is 0; it must be at least 1"),
        (["run", "--preset", "wide"], "preset is 'wide'; it must be one of 'seed', 'broad'"),
        (["run", "--half-life", "0"], "half_life_days is 0.0; it must be above 0, or None for no decay"),
        (["run", "--many", "2"], "many is 2; it must be 0, or 3 to 1000000"),
        (["run", "--min-similarity", "2"], "min_similarity is 2.0; it must be between -1 and 1"),
        (["run", "--min-effective-matches", "6"], "min_effective_matches is 6.0; it must be between 1 and top_k (5)"),
        (["run", "--horizons", "1,10"], "return_horizon is 5; it must be one of the horizons (1, 10)"),
        (["run", "--barrier-up", "0.1"], "barrier_up 0.05 (now asked for: 0.1)"),
        (["run", "--market-relative"], "market_relative unset (now asked for: True)"),
        (["run", "--window-bars", "30"], "window_bars 20 (now asked for: 30)"),
        (["export", "out.parquet", "--context", "--format", "alphalens"], "--format is alphalens; use --format long"),
        (["run", "--probes", "1025"], "probes is 1025; it must be between 1 and 1024"),
        (["run", "--min-recall", "2"], "min_recall is 2.0; it must be between 0 and 1"),
        (["run", "--threads", "0"], "threads is 0; it must be between 1 and 256"),
        (["run", "--max-failed-share", "2"], "max_failed_share is 2.0"),
        (["run", "--pattern-stride", "5"], "pattern_stride 1 (now asked for: 5)"),
        (["run", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["run", "--encoder", "nowhere.safetensors"], "nowhere.safetensors cannot be read"),
        (["index", "--pattern-stride", "0"], "pattern_stride is 0"),
        (["index", "--scales", "5,1"], "scales is (5, 1); it must be distinct, increasing and at least 1"),
        (["run", "--scales", "1,2"], "scale_weights is (); it must be given for the scales (1, 2)"),
        (["match", "SYN00000", "--scales", "1,5", "--scale-weights", "1,1"], "weights that sum to 1"),
        (["index", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["ingest", "no-such-folder"], "no-such-folder does not exist"),
        (["match", "NOPE"], "'NOPE' has no bars"),
        (["match", "SYN00000", "2010-12-04"], "2010-12-04"),
        (["match", "SYN00000", "--png", "no/such/x.png"], "--png is no/such/x.png; its folder does not exist"),
        (["match", "SYN00000", "--png", "/"], "--png is /, which is a folder"),
        (["history", "SYN00000", "--png", "no/such/x.png"], "--png is no/such/x.png; its folder does not exist"),
        (["evaluate", "--png", "no/such/x.png"], "--png is no/such/x.png; its folder does not exist"),
        (["evaluate", "--html", "no/such/x.html"], "--html is no/such/x.html; its folder does not exist"),
        (
            ["evaluate", "--alphalens", "out", "--first", "2010-01-04"],
            "--alphalens writes all values of the fingerprint",
        ),
        (["evaluate", "SYN00000", "--alphalens", "out"], "leave SYMBOL, --first, --last and --universe away"),
        (["evaluate", "--first", "yesterday"], "--first is 'yesterday'"),
        (["evaluate", "--top-k", "0"], "top_k is 0; it must be at least 1"),
        (["evaluate", "--encoder", "nowhere.safetensors"], "nowhere.safetensors cannot be read"),
        (["export", "out.xlsx"], "cannot write .xlsx; use .parquet, .csv, .arrow or .feather"),
        (["train", "--out", "weights.bin"], "must end in .safetensors"),
        (["train", "--out", "no/such/w.safetensors"], "its folder does not exist"),
    ],
)
def test_refusals_are_one_line_that_names_the_cause(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path, words: list[str], named: str
) -> None:
    # How long a scheduler is waited for is tested beside it.
    monkeypatch.setattr(standing, "CONNECT_SECONDS", 1.0)
    assert named in refused(capsys, "--home", str(home), *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ingest", "LOOP"], "LOOP cannot be looked at (ROUND); name files or folders that can be read"),
        (["ingest", "LOOP/bars"], "LOOP/bars cannot be looked at (ROUND); name files or folders that can be read"),
        (
            ["ingest", "BARS", "--rejected", "LOOP"],
            "--rejected is LOOP, which cannot be used (ROUND); name another file",
        ),
        (["--home", "LOOP", "index"], "home LOOP cannot be used (ROUND); name another folder"),
        (["--home", "LOOP/home", "ingest", "BARS"], "home LOOP/home cannot be used (ROUND); name another folder"),
        (["--home", "LOOP", "ingest", "BARS", "--rejected", "OUT"], "home LOOP cannot be used (ROUND); name another"),
        (["--home", "LOOP", "doctor"], "home LOOP cannot be used (ROUND); name another folder"),
        (["--home", "LOOP", "demo"], "home LOOP cannot be used (ROUND); name another folder"),
        (["--home", "LOOP", "up"], "home LOOP cannot be used (ROUND); name another folder"),
        (["index", "--encoder", "LOOP"], "weights LOOP cannot be read (ROUND); give a file written by `kline train`"),
        (["run", "--dates", "LOOP"], "LOOP: cannot be read: ROUND; name the file itself"),
        (["match", "SYN00000", "--png", "LOOP"], "--png is LOOP, which cannot be used (ROUND); name another file"),
        (["evaluate", "--png", "LOOP"], "--png is LOOP, which cannot be used (ROUND); name another file"),
        (["export", "LOOP/x.csv"], "LOOP/x.csv cannot be written: there is no folder LOOP; make it, or name another"),
        (
            ["train", "--out", "LOOP.safetensors"],
            "--out is LOOP.safetensors, which cannot be used (ROUND); name another",
        ),
    ],
)
def test_a_link_that_leads_back_to_itself_is_called_so(
    capsys: pytest.CaptureFixture[str], home: Path, plain: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    loop = tmp_path / "loop"
    for link in (loop, loop.with_suffix(".safetensors")):
        link.symlink_to(link)
    named = {"LOOP": str(loop), "BARS": str(plain / "bars.csv"), "OUT": str(tmp_path / "out.csv")}
    named["ROUND"] = "a link on the way there leads back to itself"

    def filled(text: str) -> str:
        return re.sub("|".join(named), lambda found: named[found[0]], text)

    assert filled(says) in refused(capsys, "--home", str(home), *map(filled, words))


def test_a_place_for_rejected_rows_is_asked_for_before_any_bar_is_stored(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    place, file = tmp_path / "home", tmp_path / "none" / "rejected.csv"
    line = refused(capsys, "--home", str(place), "ingest", str(plain), "--rejected", str(file))
    assert line == f"kline: --rejected is {file}; its folder does not exist"
    assert not place.exists()


def test_rejected_rows_never_overwrite_what_they_are_from(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    folder, place = tmp_path / "in", tmp_path / "home"
    shutil.copytree(plain, folder)
    bars = folder / "bars.csv"
    os.link(bars, tmp_path / "same")
    before = bars.read_bytes()
    for sources, file, says in (
        ([bars], bars, "is a file to ingest; name another place"),
        ([folder], bars, "is a file to ingest"),
        ([bars], tmp_path / "same", "is a file to ingest"),
        ([folder], folder / "rejected.csv", f"lies in {folder}, where it would be ingested the next time"),
        ([folder], place / "rejected.csv", f"--rejected is {place / 'rejected.csv'}; its folder does not exist"),
    ):
        words = ["--home", str(place), "ingest", *map(str, sources), "--rejected", str(file)]
        assert says in refused(capsys, *words)
        assert not place.exists()
    assert bars.read_bytes() == before


def test_the_report_of_stored_rows_is_shown_where_the_rejected_ones_find_no_room(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "home")
    code, out, line = ask(capsys, "--home", place, "--json", "ingest", str(plain), "--rejected", "/dev/full")
    assert (code, json.loads(out)["stored_new"]) == (1, SYMBOLS * BARS)
    assert line.startswith("kline: --rejected is /dev/full, which cannot be written (No space left on device); the ")


def test_no_file_is_written_into_a_home(capsys: pytest.CaptureFixture[str], home: Path, plain: Path) -> None:
    (part,) = (home / "bars").glob("*.parquet")
    before = part.read_bytes()
    words = ["--home", str(home)]
    assert f"lies in the table {home / 'bars'}" in refused(
        capsys, *words, "ingest", str(plain), "--rejected", str(part)
    )
    assert f"lies in the home {home}" in refused(
        capsys, *words, "ingest", str(plain), "--rejected", str(home / "rejected.csv")
    )
    assert "lies in the table" in refused(capsys, *words, "export", str(part))
    assert "lies in the table" in refused(capsys, *words, "match", "SYN00000", "--png", str(part))
    assert part.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [["ingest", ""], ["ingest", " "], ["ingest", "x", "--rejected", ""], ["run", "--dates", ""], ["export", ""]],
)
def test_an_empty_path_is_no_folder(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--home", "nowhere", *words])
    assert caught.value.code == 2
    assert "is no path; name a file or a folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_from_outside_steers_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, as_json: bool
) -> None:
    folder = tmp_path / "in\x1b[31m"
    folder.mkdir()
    header = "symbol,date,open,high,low,close,volume,\x1b]0;title\x07"
    rows = ["A,2020-01-01,1,1,1,1,1,", "\u202eB,2020-01-01,1,1,1,1,1,", "A,\x1b[2J,1,1,1,1,1,", "\x9b2J"]
    (folder / "a\x07.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    (folder / "b\x1b.txt").touch()
    (folder / os.fsdecode(b"c\xff.csv")).touch()
    words = ["--json"] if as_json else []
    capsys.readouterr()
    assert main([*words, "--home", str(tmp_path / "home"), "ingest", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.replace("\n", "").isprintable()
    assert err.rsplit("\r", 1)[-1].replace("\n", "").isprintable()
    if as_json:
        report = json.loads(out)
        assert report["files"][0]["ignored_columns"] == ["\x1b]0;title\x07"]
        assert report["rejected"] == 3
    assert refused(capsys, "--home", str(tmp_path / "home"), "ingest", "\x1b[2J").isprintable()
    with pytest.raises(SystemExit):
        main(["\x1b[2J"])
    assert capsys.readouterr().err.strip().isprintable()


def test_another_encoder_is_refused_with_what_to_do(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    from kline_core.encoder.encoder import save_weights
    from kline_core.encoder.network import AttentionEncoder, ChartDecoder

    save_weights(
        tmp_path / "other.safetensors", AttentionEncoder(8), ChartDecoder(8), {"trained_through": "2000-01-03"}
    )
    line = refused(capsys, "--home", str(home), "run", "--encoder", str(tmp_path / "other.safetensors"))
    assert "were made with encoder " in line
    assert "kline index --rebuild" in line


@pytest.mark.slow
def test_patterns_whose_bars_are_gone_are_removed_only_if_that_is_allowed(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(home, tmp_path / "home")
    Home(place).delete("bars", ["SYN00000"])
    index = ["--home", str(place), "index"]
    line = refused(capsys, *index)
    assert "(33%) would be removed" in line
    assert "--max-removed-share 1" in line
    assert "max_removed_share is 1.5; it must be between 0 and 1" in refused(
        capsys, *index, "--max-removed-share", "1.5"
    )
    assert ask(capsys, *index, "--max-removed-share", "1", "--json")[0] == 0


@pytest.mark.slow
def test_a_damaged_bar_is_one_line_that_names_its_file(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(home, tmp_path / "home")
    (file,) = (place / "bars").glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[2000] ^= 0xFF
    file.write_bytes(content)
    for words in (["index"], ["run", "--samples", "5"], ["match", "SYN00000"]):
        assert f"its file {file.name} is not what was written" in refused(capsys, "--home", str(place), *words)
    code, out, _ = ask(capsys, "--home", str(place), "verify")
    assert code == 1
    assert f"its file {file.name} is not what was written" in out


@pytest.mark.slow
def test_seen_dates_are_scored_and_marked_where_they_are_allowed(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    seen = str(write_encoder(tmp_path / "seen.safetensors", window_bars=20, trained_through="2031-01-06"))
    place, allowed = ["--home", str(tmp_path / "home"), "--json"], ["--encoder", seen, "--allow-seen"]
    assert ask(capsys, *place, "ingest", str(plain))[0] == 0
    assert ask(capsys, *place, "index", "--encoder", seen)[0] == 0
    assert "--allow-seen" in refused(capsys, *place, "match", "SYN00000", "--encoder", seen)
    view = json.loads(ask(capsys, *place, "match", "SYN00000", *allowed)[1])
    assert view["value"] is not None
    assert view["reason"] == "encoder trained through 2031-01-06"

    run = [*place, "run", "SYN00000", "--samples", "20", "--max-failed-share", "1"]
    report = json.loads(ask(capsys, *run, "--encoder", seen)[1])
    assert (report["failed"], report["reasons"]) == (20, {"the encoder was trained through 2031-01-06": 20})
    report = json.loads(ask(capsys, *run, *allowed)[1])
    assert report["done"] > 0
    file = tmp_path / "values.csv"
    assert ask(capsys, *place, "export", str(file), "--fingerprint", report["fingerprint"])[0] == 0
    values = pd.read_csv(file)
    assert set(values.loc[values["status"] == "ok", "reason"]) == {view["reason"]}


def test_homes_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KLINE_HOME", raising=False)
    assert "no home is named; give --home FOLDER or set KLINE_HOME" in refused(capsys, "run")
    assert str(tmp_path / "none") in refused(capsys, "--home", str(tmp_path / "none"), "run")
    half = tmp_path / "half"
    half.mkdir()
    (half / "notes.txt").write_text("something else")
    assert str(half) in refused(capsys, "--home", str(half), "index")
    blocked = tmp_path / "file"
    blocked.write_text("")
    bars = tmp_path / "bars.csv"
    random_walk(1, 30, seed=1).to_frame().to_csv(bars, index=False)
    assert str(blocked) in refused(capsys, "--home", str(blocked / "home"), "ingest", str(bars))


def test_the_environment_names_the_home(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLINE_HOME", str(home))
    code, out, _ = ask(capsys, "index", "--json")
    assert (code, json.loads(out)["added"]) == (0, 0)


@pytest.mark.parametrize("words", [[], ["fly"], ["run", "--samples", "many"], ["export"], ["run", "--what"]])
def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "--help" in err


def test_debug_shows_where_an_error_came_from(home: Path) -> None:
    from kline_core.errors import UnknownSymbolError

    with pytest.raises(UnknownSymbolError):
        main(["--home", str(home), "--debug", "run", "NOPE"])


@pytest.mark.parametrize("command", ["run", "up", "demo"])
def test_no_secret_of_a_url_is_repeated(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["--home", "s3://AKIA123:hunter22@bucket/home", command]) == 1
    err = capsys.readouterr().err
    assert "s3://***@bucket/home" in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_no_secret_is_in_a_traceback(tmp_path: Path) -> None:
    # A command that breaks in a way that nobody has foreseen.
    code = (
        "import sys; from kline_core.cli.parser import entry; from kline_core.cli.commands import COMMANDS\n"
        "def breaks(options): raise OSError(f'cannot connect to {options.home}')\n"
        "COMMANDS['verify'] = breaks; entry()"
    )
    words = ["--home", "postgresql://me:hunter22@host/d", "verify"]
    for debug, lines in ([], 1), (["--debug"], 8):
        command = [sys.executable, "-c", code, *words, *debug]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "cannot connect to postgresql://***@host/d" in done.stderr
        assert len(done.stderr.splitlines()) >= lines
        assert ("Traceback" in done.stderr) == bool(debug)


@pytest.mark.slow
@pytest.mark.parametrize("json_wanted", [True, False])
def test_a_reader_that_went_away_is_no_error_to_talk_about(json_wanted: bool) -> None:
    # A command that does nothing: what is tested is how its answer is printed, up to the end of the process.
    code = (
        "import sys; from kline_core.cli.parser import main; from kline_core.cli.commands import COMMANDS, Answer; "
        "COMMANDS['index'] = lambda options: Answer('done', {}); sys.exit(main(sys.argv[1:]))"
    )
    read, write = os.pipe()
    os.close(read)
    words = ["index", *(["--json"] if json_wanted else [])]
    try:
        # Buffered, as it is by default: an answer that is not flushed fails only at the interpreter's end.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=env
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_values_of_several_settings_are_exported_one_at_a_time(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    words = ["--home", str(home), "--json", "run", "SYN00000", "--samples", "20", "--max-failed-share", "1"]
    five = json.loads(ask(capsys, *words)[1])["fingerprint"]
    three = json.loads(ask(capsys, *words, "--top-k", "3")[1])["fingerprint"]
    assert five != three
    line = refused(capsys, "--home", str(home), "export", str(tmp_path / "x.csv"))
    assert five in line
    assert three in line
    file = tmp_path / "three.csv"
    assert ask(capsys, "--home", str(home), "export", str(file), "--fingerprint", three)[0] == 0
    values = pd.read_csv(file)
    assert set(values["fingerprint"]) == {three}
    assert values["matches"].max() <= 3
    assert "no values are stored" in refused(
        capsys, "--home", str(home), "export", str(file), "--fingerprint", "0" * 16
    )
    assert np.isfinite(values.loc[values["status"] == "ok", "value"]).all()


@pytest.mark.slow
def test_evaluate_judges_what_is_stored(
    capsys: pytest.CaptureFixture[str], plain: Path, home: Path, tmp_path: Path
) -> None:
    place = ["--home", str(tmp_path / "home")]
    assert ask(capsys, *place, "ingest", str(plain))[0] == 0
    assert "holds no values yet; run `kline run`" in refused(capsys, *place, "evaluate")

    words = ["--home", str(home), "--json"]
    run = [*words, "run", "--samples", "150", "--max-failed-share", "1"]
    report = json.loads(ask(capsys, *run)[1])
    three = json.loads(ask(capsys, *run, "--top-k", "3", "SYN00000")[1])
    picture = tmp_path / "evaluation.png"
    code, out, _ = ask(capsys, "--home", str(home), "evaluate", "--png", str(picture))
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"drawn in {picture}" in out
    assert "rank IC over time" in out.splitlines()[0]

    past = tmp_path / "history.png"
    shown = ask(capsys, "--home", str(home), "history", "SYN00001", "--first", "2010-06-01", "--png", str(past))[1]
    assert shown.startswith("SYN00001: ")
    assert shown.endswith(f"drawn in {past}\n")
    assert past.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(ask(capsys, *words, "history", "SYN00001")[1])["rows"]
    assert sum(row["value"] is not None for row in rows) > 0

    page, folder = tmp_path / "evaluation.html", tmp_path / "alphalens"
    whole = [*words, "evaluate", "--html", str(page), "--up", "red", "--alphalens", str(folder)]
    found = json.loads(ask(capsys, *whole)[1])
    assert found["verdict"] == out.splitlines()[0]
    assert found["verdict"] in page.read_text()
    # Two of them are of this test; others share its home.
    tried = found["details"]["tries"]["tried"]
    assert tried >= 2
    assert f"{tried} settings were tried in this home" in out
    factor = pd.read_parquet(folder / "factor.parquet")["factor"]
    assert (len(factor), int(factor.notna().sum())) == (found["samples"], found["values"])
    assert set(pd.read_parquet(folder / "prices.parquet").columns) == set(factor.index.unique("asset"))
    assert found["fingerprint"] == report["fingerprint"]
    assert found["samples"] >= report["samples"]
    assert found["samples"] - found["values"] == sum(found["failed"].values()) > 0
    assert [each["horizon"] for each in found["horizons"]] == [1, 5, 10, 20]
    assert "cost is 5.0; it must be a share of what is bought or sold from 0 to 0.1" in refused(
        capsys, *words, "evaluate", "--cost", "5"
    )
    dear = json.loads(ask(capsys, *words, "evaluate", "--cost", "0.003")[1])
    assert [each["details"]["portfolios"]["cost"] for each in (found, dear)] == [0.001, 0.003]
    for options in (["--top-k", "3"], ["--fingerprint", three["fingerprint"]]):
        other = json.loads(ask(capsys, *words, "evaluate", *options)[1])
        assert (other["fingerprint"], other["symbols"]) == (three["fingerprint"], 1)
    some = json.loads(ask(capsys, *words, "evaluate", "SYN00001", "--first", "2010-06-01", "--last", "20101130")[1])
    assert some["symbols"] == 1
    assert "2010-06-01" <= some["first"] <= some["last"] <= "2010-11-30"
    assert report["fingerprint"] in refused(capsys, *words, "evaluate", "--top-k", "4")
    assert "'NOPE'" in refused(capsys, *words, "evaluate", "NOPE")


@pytest.mark.slow
def test_the_command_ends_with_the_code_of_its_answer(home: Path) -> None:
    def end(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "kline_core.cli", "--home", str(home), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, out = end("--json", "index")
    assert (code, json.loads(out)["added"]) == (0, 0)
    assert end("run", "NOPE") == (1, "")
    assert end("fly") == (2, "")


@pytest.mark.slow
def test_verify_tells_work_that_is_pending_from_damage(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    place = tmp_path / "home"
    shutil.copytree(home, place)
    words = ["--home", str(place), "verify"]
    code, out, line = ask(capsys, *words)
    assert (code, line) == (0, "")
    assert out.startswith(f"tables are sound: {SYMBOLS * BARS} bars, ")
    assert json.loads(ask(capsys, *words, "--json")[1])["findings"] == []

    shutil.rmtree(place / "patterns")
    code, out, line = ask(capsys, *words)
    known = SYMBOLS * (BARS - 19 - 21)
    waiting = "windows of newer bars that wait for their patterns"
    assert (code, line) == (3, "")
    assert out.startswith(f"tables are sound, and work is pending: patterns: {known} {waiting}")
    assert f"pending: patterns: {known} {waiting}, such as SYN00000 " in out
    assert "run `kline index`" in out
    code, out, _ = ask(capsys, *words, "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["state"]) == (3, True, "pending")
    assert document["findings"][0]["count"] == known

    shutil.copytree(home / "patterns", place / "patterns")
    Home(place).delete("patterns", ["SYN00001"])
    code, _, line = ask(capsys, *words)
    assert (code, line) == (1, f"kline: tables are damaged: patterns: {BARS - 19 - 21} windows missing")
    assert "nowhere.safetensors cannot be read" in refused(capsys, *words, "--encoder", "nowhere.safetensors")


@pytest.mark.long
@pytest.mark.slow
def test_full_mode_beside_fast_mode(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    place = tmp_path / "home"
    for table in ("bars", "patterns"):
        shutil.copytree(home / table, place / table)
    words = ["--home", str(place), "--json"]
    run = ["run", "--samples", "12", "--max-failed-share", "1"]
    fast, full = (json.loads(ask(capsys, *words, *run, "--mode", mode)[1]) for mode in ("fast", "full"))
    assert fast["fingerprint"] != full["fingerprint"]
    assert fast["samples"] == full["samples"] == SYMBOLS * 12

    found = json.loads(ask(capsys, *words, "evaluate", "--compare", "full")[1])
    assert found["fingerprint"] == fast["fingerprint"]
    assert found["agreement"]["other"] == full["fingerprint"]
    assert found["agreement"]["samples"] == SYMBOLS * 12
    assert 0 < found["agreement"]["found"]["5"] <= 1
    turned = json.loads(ask(capsys, *words, "evaluate", "--mode", "full", "--compare", fast["fingerprint"])[1])
    assert turned["agreement"]["other_found"] == found["agreement"]["found"]
    _, out, _ = ask(capsys, "--home", str(place), "evaluate", "--compare", "full")
    assert "of the other's, found here" in out

    view = json.loads(ask(capsys, *words, "match", "SYN00001", "--mode", "full")[1])
    assert view["fingerprint"] == full["fingerprint"]
    assert len(view["matches"]) == 10
    assert {"dtw", "price", "return", "shape", "pixels", "edges"} <= set(view["matches"][0])
    few = json.loads(ask(capsys, *words, "match", "SYN00001", "--mode", "full", "--top-k", "3")[1])
    assert [match["end"] for match in few["matches"]] == [match["end"] for match in view["matches"][:3]]
    replayed = json.loads(ask(capsys, *words, "replay", full["run_id"])[1])
    assert replayed["same"] is True

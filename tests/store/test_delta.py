"""What Delta's and Arrow's errors become: one line with the whole cause and the remedy that fits it."""

import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError

from kline_core.errors import HomeError
from kline_core.store import folder
from kline_core.store.delta import UnreachableError, cause_of, explained
from kline_core.store.home import Home
from tests.support.tables import KEYS, bar_rows, match_rows

REFUSED = (
    "Generic S3 error\n    \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:9/b after 10 retries, max_retries\n"
    "  \x1b[31m↳\x1b[0m 10, retry_timeout\n \x1b[31m↳\x1b[0m 180s  - HTTP error\n"
    " \x1b[31m↳\x1b[0m error sending request\n \x1b[31m↳\x1b[0m tcp connect error\n"
    "  \x1b[31m↳\x1b[0m Connection refused (os error 111)\n   0: <unknown>\n   1: x\n"
)


def said(error, action="read", uri="s3://bucket/home"):
    with pytest.raises(HomeError) as caught, explained(uri, "bars", action):
        raise error
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert caught.value.__cause__ is error
    return caught.value


def test_the_whole_chain_of_causes_is_in_the_message():
    assert cause_of(DeltaError(REFUSED)) == (
        "Generic S3 error: Error performing GET http://127.0.0.1:9/b after 10 retries, max_retries: 10, retry_timeout: "
        "180s - HTTP error: error sending request: tcp connect error: Connection refused (os error 111)"
    )


@pytest.mark.parametrize("action", ["read", "write", "make", "read an old version of"])
@pytest.mark.parametrize(
    "text",
    [REFUSED, "HTTP error\x1b[31m↳\x1b[0m error sending request ↳ dns error: no such host", "operation timed out"],
)
def test_a_store_that_does_not_answer_is_not_called_damaged(action, text):
    error = said(OSError(text), action)
    assert type(error) is UnreachableError
    assert str(error).startswith(f"home s3://bucket/home cannot be reached, to {action} table bars: ")
    assert "restore" not in str(error)
    assert "new home" not in str(error)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("Unable to copy data to file: No space left on device (os error 28)", "nothing was committed; make room"),
        ("Permission denied (os error 13)", "check who may read and write there"),
        ("Generic S3 error: 403 Forbidden", "check the store's address, the bucket and the credentials"),
        ("Kernel error: Json error", "restore the home from a copy, or ingest all files into a new one"),
    ],
)
def test_the_remedy_fits_the_cause(text, remedy):
    assert remedy in str(said(DeltaError(text)))


def test_a_file_of_any_table_that_cannot_be_read_is_named(tmp_path):
    home = Home(tmp_path / "home", create=True)
    for rank in range(3):
        home.append("matches", match_rows([rank] * 400))
    path = tmp_path / "home" / "matches" / sorted(home.files("matches"))[1]
    whole = path.read_bytes()
    for content in (whole[:100], whole[:4] + bytes(len(whole) - 300) + whole[len(whole) - 296 :], b""):
        path.write_bytes(content)
        with pytest.raises(HomeError, match=rf"cannot read table matches of home .*{path.name}"):
            home.read("matches")
    path.unlink()
    with pytest.raises(HomeError, match=rf"its file {path.name} is gone"):
        home.read("matches")


@pytest.mark.parametrize(
    "write",
    [
        lambda home: home.append("bars", bar_rows("B", 2)),
        lambda home: home.upsert("matches", match_rows([0]), KEYS),
    ],
)
def test_a_disk_that_is_too_full_is_noticed_before_anything_is_written(tmp_path, monkeypatch, capfd, write):
    home = Home(tmp_path / "home", create=True)
    home.append("matches", match_rows([0]))
    versions = home.version("bars"), home.version("matches")
    monkeypatch.setattr(folder, "free_bytes", lambda _: 10)
    with pytest.raises(HomeError, match=r"no space left: the disk has 0.0 MB free.*nothing was committed; make room"):
        write(home)
    assert (home.version("bars"), home.version("matches")) == versions
    assert capfd.readouterr().err == ""


def test_errors_of_arrow_are_explained_too():
    assert "cannot read table bars of home /h: bad" in str(said(pa.ArrowInvalid("bad"), uri="/h"))

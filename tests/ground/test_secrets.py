import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kline_core._secrets import holds_credentials, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+asyncpg://kline:hunter22@db:5432/prefect fails", "postgresql+asyncpg://***@db:5432/prefect fails"),
        ("'postgresql://u:p/w%40@h/d'", "'postgresql://***@h/d'"),
        ("s3://AKIA123:se/cr+et@bucket/home", "s3://***@bucket/home"),
        ("s3://me:hun/t@er22@bucket", "s3://***@bucket"),
        ("s3://me:hunt'er@22@bucket/a", "s3://***@bucket/a"),
        ("https://token@host/x and https://host/@x", "https://***@host/x and https://host/@x"),
        ("az://c/h?sv=1&sig=abc%3D&x=2", "az://c/h?sv=1&sig=***&x=2"),
        ("postgresql://h/d?user=u&password=hunter22", "postgresql://h/d?user=u&password=***"),
        # Nothing secret here.
        ("no Dask scheduler answers at tcp://127.0.0.1:9 (OSError)", None),
        ("mail a@b.c; see http://h:4200/x", None),
        ("top_k = 0; key=value", None),
    ],
)
def test_passwords_in_urls_are_masked(text: str, expected: str | None) -> None:
    assert masked(text, {}) == (text if expected is None else expected)


@pytest.mark.slow
@example("@/")
@example("/@")
@given(st.text(st.characters(exclude_categories=["Z", "C"])))
def test_no_password_is_left_whatever_it_is(password: str) -> None:
    text = f"cannot connect to postgresql://me:{password}@host/d: refused"
    assert masked(text, {}) == "cannot connect to postgresql://***@host/d: refused"
    assert holds_credentials(f"s3://me:{password}@bucket/home")


def test_values_of_secret_variables_are_masked() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:hunter22",
        "PREFECT_API_DATABASE_PASSWORD": "hunter22",
        "MY_TOKEN": "short",
        "PATH": "/usr/bin",
    }
    text = "wJalrXUtnFEMI, admin:hunter22, hunter22, short, /usr/bin"
    assert masked(text, environ) == "***, ***, ***, short, /usr/bin"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/home", False),
        ("s3://bucket/a@b/home", False),
        ("/home/a@b?", False),
        ("s3://key@bucket", True),
        ("s3://key:secret@bucket/home", True),
        ("s3://key:se/cret@bucket/home", True),
        ("az://container/home?sig=1", True),
    ],
)
def test_urls_with_credentials(url: str, expected: bool) -> None:
    assert holds_credentials(url) == expected

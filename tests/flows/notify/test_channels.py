"""Places for messages: what is one, under which name it stands, and what Apprise makes of a mail server."""

import pytest
from apprise import Apprise

from flows.notify.channels import email, webhook
from kline_core.errors import SettingError

# Of Apprise, where its mail is loaded.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.mark.slow
def test_a_place_has_one_name_and_shows_no_secret() -> None:
    url = "https://hooks.slack.com/services/T0/B0/verysecret"
    assert webhook(url).name == webhook(url).name != webhook(f"{url}2").name
    assert "verysecret" not in repr(webhook(url))
    server = {"KLINE_SMTP": "smtps://me:hunter22@smtp.example.com"}
    assert email("a@b.com", server).name == email("a@b.com", server | {"KLINE_SMTP": "smtp://other"}).name
    assert "hunter22" not in repr(email("a@b.com", server))


@pytest.mark.parametrize("url", ["", "ftp://x/y", "https://", "hooks.example.com", "http://a b/", "http://h:x/"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(SettingError, match="--webhook is no URL of HTTP"):
        webhook(url)


@pytest.mark.parametrize("address", ["", "you", "a@b@c", "a b@c.com", "a@b.com,c@d.com", "a@b.com?bcc=x@y.com"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SettingError, match="give an address such as"):
        email(address, {"KLINE_SMTP": "smtp://localhost"})


@pytest.mark.parametrize(
    "server", ["smtp.example.com", "http://me:hunter22@x", "smtp://", "smtps://x/path", "smtp://x:no"]
)
def test_servers_that_are_none(server: str) -> None:
    with pytest.raises(SettingError, match="KLINE_SMTP names no mail server") as raised:
        email("a@b.com", {"KLINE_SMTP": server})
    assert "hunter22" not in str(raised.value)


def test_no_server() -> None:
    with pytest.raises(SettingError, match="KLINE_SMTP is not set"):
        email("a@b.com", {})


@pytest.mark.parametrize(
    ("server", "port", "mode", "sender", "password"),
    [
        ("smtps://me%40example.com:p%40s%2Fs@smtp.example.com", 465, "ssl", "me@example.com", "p@s/s"),
        ("smtp://me:pass@smtp.example.com", 587, "starttls", "you@here.com", "pass"),
        ("smtp://smtp.example.com:2525", 2525, "starttls", "you@here.com", None),
        ("smtp://localhost", 25, "insecure", "you@here.com", None),
    ],
)
def test_what_apprise_makes_of_a_server(server: str, port: int, mode: str, sender: str, password: str | None) -> None:
    block = email("you@here.com", {"KLINE_SMTP": server}).block
    (mail,) = Apprise([block.url.get_secret_value()])  # type: ignore[attr-defined]
    assert (mail.port, mail.secure_mode, mail.from_addr[1], mail.password) == (port, mode, sender, password)
    assert mail.smtp_host in server
    assert [target[1] for target in mail.targets] == ["you@here.com"]

"""Markets: the calendar, time zone and currency of a country's exchanges, and how their symbols end."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Market:
    """A market whose exchanges share sessions, time zone and currency."""

    name: str
    """ISO 3166 code of the country: CN, US."""
    calendar: str
    """Name of its main exchange's calendar in exchange_calendars: XSHG."""
    zone: str
    """IANA name of the time zone in which the exchange dates its bars: Asia/Shanghai."""
    currency: str
    """ISO 4217 code of the currency: CNY. Vendors may quote in its hundredth part, as Yahoo does in pence (GBp)."""
    suffixes: tuple[str, ...]
    """Endings of canonical symbols, after the dot; none in the US, whose tickers are bare."""


MARKETS: Final = {
    market.name: market
    for market in (
        Market("AT", "XWBO", "Europe/Vienna", "EUR", ("VI",)),
        Market("AU", "XASX", "Australia/Sydney", "AUD", ("AX",)),
        Market("BE", "XBRU", "Europe/Brussels", "EUR", ("BR",)),
        Market("BR", "BVMF", "America/Sao_Paulo", "BRL", ("SA",)),
        Market("CA", "XTSE", "America/Toronto", "CAD", ("TO", "V")),
        Market("CH", "XSWX", "Europe/Zurich", "CHF", ("SW",)),
        Market("CN", "XSHG", "Asia/Shanghai", "CNY", ("SH", "SZ", "BJ")),
        Market("DE", "XETR", "Europe/Berlin", "EUR", ("DE", "F")),
        Market("DK", "XCSE", "Europe/Copenhagen", "DKK", ("CO",)),
        Market("ES", "XMAD", "Europe/Madrid", "EUR", ("MC",)),
        Market("FI", "XHEL", "Europe/Helsinki", "EUR", ("HE",)),
        Market("FR", "XPAR", "Europe/Paris", "EUR", ("PA",)),
        Market("GB", "XLON", "Europe/London", "GBP", ("L",)),
        Market("HK", "XHKG", "Asia/Hong_Kong", "HKD", ("HK",)),
        Market("ID", "XIDX", "Asia/Jakarta", "IDR", ("JK",)),
        Market("IE", "XDUB", "Europe/Dublin", "EUR", ("IR",)),
        Market("IN", "XBOM", "Asia/Kolkata", "INR", ("NS", "BO")),
        Market("IT", "XMIL", "Europe/Rome", "EUR", ("MI",)),
        Market("JP", "XTKS", "Asia/Tokyo", "JPY", ("T",)),
        Market("KR", "XKRX", "Asia/Seoul", "KRW", ("KS", "KQ")),
        Market("MX", "XMEX", "America/Mexico_City", "MXN", ("MX",)),
        Market("MY", "XKLS", "Asia/Kuala_Lumpur", "MYR", ("KL",)),
        Market("NL", "XAMS", "Europe/Amsterdam", "EUR", ("AS",)),
        Market("NO", "XOSL", "Europe/Oslo", "NOK", ("OL",)),
        Market("NZ", "XNZE", "Pacific/Auckland", "NZD", ("NZ",)),
        Market("PL", "XWAR", "Europe/Warsaw", "PLN", ("WA",)),
        Market("PT", "XLIS", "Europe/Lisbon", "EUR", ("LS",)),
        Market("SA", "XSAU", "Asia/Riyadh", "SAR", ("SR",)),
        Market("SE", "XSTO", "Europe/Stockholm", "SEK", ("ST",)),
        Market("SG", "XSES", "Asia/Singapore", "SGD", ("SI",)),
        Market("TH", "XBKK", "Asia/Bangkok", "THB", ("BK",)),
        Market("TR", "XIST", "Europe/Istanbul", "TRY", ("IS",)),
        Market("TW", "XTAI", "Asia/Taipei", "TWD", ("TW", "TWO")),
        Market("US", "XNYS", "America/New_York", "USD", ()),
        Market("ZA", "XJSE", "Africa/Johannesburg", "ZAR", ("JO",)),
    )
}
"""Every market by its name: those of which Yahoo has a suffix and exchange_calendars 4.13 a calendar.

Greece and Israel are missing, since their calendars cannot be made with pandas 3.
"""

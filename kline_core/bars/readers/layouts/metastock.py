"""Metastock ASCII, which many tools write: `<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>`.

Whether prices are adjusted is up to the tool. `<PER>`, where it is there, is D for daily bars; others are rejected.
"""

from kline_core.bars.readers.layout import Layout

LAYOUT = Layout(
    name="Metastock ASCII",
    columns={
        "<ticker>": "symbol",
        "<per>": "period",
        "<dtyyyymmdd>": "date",
        "<date>": "date",
        "<open>": "open",
        "<high>": "high",
        "<low>": "low",
        "<close>": "close",
        "<vol>": "volume",
        "<volume>": "volume",
    },
    telling=("<open>", "<high>", "<low>", "<close>"),
)

"""`python -m kline_core.cli` is `kline`."""

from kline_core.cli.process import entry

if __name__ == "__main__":
    entry()

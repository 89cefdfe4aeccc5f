"""The command line `kline`."""

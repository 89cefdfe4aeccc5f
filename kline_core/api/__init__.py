"""The face of the library: what a notebook, the command line and the flows call. `import kline_core as kl` shows it."""

"""Public functions of the library, for notebooks, the command line and the flows: `import kline_core as kl`."""

"""The tables of a home, and the only wing that imports deltalake."""

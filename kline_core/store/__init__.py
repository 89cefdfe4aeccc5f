"""The tables of a home; the only part of the library that imports deltalake."""

"""Loaded states held against the tables that they were loaded from."""

import numpy as np


def assert_like_the_table(loaded, home, version):
    table = home.read("patterns", version=version)
    patterns = loaded.patterns
    found = {}
    for row in range(len(patterns)):
        name, end = patterns.symbols[patterns.code[row]], patterns.end[row]
        assert loaded.frames[name].dates[patterns.bar[row]] == end
        found[name, end.item()] = row
    assert len(found) == table.num_rows
    for stored in table.to_pylist():
        row = found[stored["symbol"], stored["end"]]
        assert patterns.known_on[row] == np.datetime64(stored["known_on"])
        np.testing.assert_array_equal(patterns.returns[row], np.float32([stored["r1"], stored["r3"]]))
        assert patterns.barrier[row] == stored["barrier"]
        assert patterns.content[row] == np.int64(stored["content"]).view(np.uint64)
        assert patterns.vectors[row].tobytes() == stored["vector"]

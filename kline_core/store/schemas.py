"""Columns of a home's tables."""

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

_RETURN = re.compile("r[1-9][0-9]{0,8}")
TABLES = ("bars", "patterns", "factors", "matches", "members")
_OTHER_PATTERNS = re.compile("patterns-[0-9a-f]{16}")
OK, FAILED = "ok", "failed"
"""`status` of a sample with a value, and of one without."""
MANY_FIGURES = ("many_rank", "many_low", "many_high", "many_quarters", "many_windows")
MANY = (*MANY_FIGURES, "many_reason")
"""Columns of a second value, from many (`kline_core.factor.many`); null where the settings ask for none."""
LATER_COLUMNS = {"factors": ("match_digest", "effective_matches", *MANY), "matches": ("digest",)}
"""Columns that tables of older homes lack; they read as null, and come with the first rows that have them."""
UNTIED_LATER = ("effective_matches",)
"""Those of `LATER_COLUMNS` of `factors` that an older row may lack beside newer ones that have them: no digest holds
them."""
DEFAULT_HORIZONS = (1, 5, 10, 20)
"""Horizons, in bars, of a table that is made without settings."""


def _field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def other_patterns(fingerprint: str) -> str:
    """Name of the table with patterns of other settings than those in `patterns`, by their fingerprint."""
    return f"patterns-{fingerprint}"


def is_other_patterns(name: str) -> bool:
    """Whether a name is one that `other_patterns` gives."""
    return _OTHER_PATTERNS.fullmatch(name) is not None


def kind_of(table: str) -> str:
    """One of `TABLES`: the kind of a table, which for a table named by `other_patterns` is patterns.

    Raises ValueError if no table has that name.
    """
    if is_other_patterns(table):
        return "patterns"
    if table not in TABLES:
        raise ValueError(f"no table is called {table!r}; there are {', '.join(TABLES)}")
    return table


def table_schema(table: str, horizons: Sequence[int] = DEFAULT_HORIZONS) -> pa.Schema:
    """Columns of a table; `patterns` and `matches` hold one column `r<h>` for each forward-return horizon `h`.

    Dates are date32. `patterns.vector` is the float32 vector as little-endian bytes, 4 for each dimension, and
    `patterns.content` an unsigned 64-bit hash stored as the signed number of the same bits, as are `factors.history`
    and the digests, which tie a value to its matches (`kline_core.factor.match_digest`). `factors.effective_matches` is
    null in rows that were stored before there was such a column, and `MANY` in those of settings without a second
    value. `bars.adj_factor` is null if none was given; prices then count as they are, as with a factor of 1.0.
    `members.date` is the day of the snapshot.

    Raises ValueError if no table has that name.
    """
    key = [_field("symbol", pa.string()), _field("date", pa.date32())]
    returns = [pa.field(f"r{h}", pa.float32()) for h in horizons]
    match kind_of(table):
        case "bars":
            prices = [_field(name, pa.float64()) for name in ("open", "high", "low", "close")]
            volumes = [pa.field("volume", pa.float64()), pa.field("amount", pa.float64())]
            factor = pa.field("adj_factor", pa.float64())
            return pa.schema([*key, *prices, *volumes, factor, _field("suspended", pa.bool_())])
        case "patterns":
            dates = [_field("end", pa.date32()), _field("known_on", pa.date32())]
            rest = [_field("barrier", pa.int8()), _field("content", pa.int64()), _field("vector", pa.binary())]
            return pa.schema([key[0], *dates, *returns, *rest])
        case "factors":
            figures = ["barrier_win_rate", "return_win_rate", "similarity", "return_mean", "return_median"]
            figures += ["return_q05", "return_q25", "return_q75", "return_cvar"]
            return pa.schema(
                [
                    *key,
                    _field("fingerprint", pa.string()),
                    pa.field("value", pa.float64()),
                    _field("status", pa.string()),
                    pa.field("reason", pa.string()),
                    _field("matches", pa.int16()),
                    *(pa.field(name, pa.float64()) for name in figures),
                    _field("history", pa.int64()),
                    pa.field("match_digest", pa.int64()),
                    _field("run_id", pa.string()),
                    # Last, where a table of before gets them too.
                    pa.field("effective_matches", pa.float64()),
                    *(pa.field(name, pa.float64()) for name in MANY_FIGURES[:-1]),
                    pa.field("many_windows", pa.int32()),
                    pa.field("many_reason", pa.string()),
                ]
            )
        case "matches":
            what = [_field("fingerprint", pa.string()), _field("rank", pa.int16())]
            match = [_field("match_symbol", pa.string()), _field("match_end", pa.date32())]
            weights = [_field("similarity", pa.float64()), _field("weight", pa.float64())]
            end = [_field("barrier", pa.int8()), pa.field("digest", pa.int64()), _field("run_id", pa.string())]
            return pa.schema([*key, *what, *match, *weights, *returns, *end])
    return pa.schema([_field("universe", pa.string()), *key, _field("source", pa.string())])


def horizons_of(rows: pa.Table) -> list[int]:
    """Horizons, in bars, of the return columns `r<h>` of a table."""
    return horizons_of_columns(rows.column_names)


def horizons_of_columns(names: Iterable[str]) -> list[int]:
    """Horizons, in bars, of the return columns `r<h>` among column names."""
    return [int(name[1:]) for name in names if _RETURN.fullmatch(name)]


def foreign_columns(table: str, stored: pa.Schema) -> str | None:
    """What the stored columns of a table have that `table_schema` has not, or the other way round; None if nothing."""
    wanted = table_schema(table, horizons_of_columns(stored.names) if kind_of(table) in ("patterns", "matches") else ())
    later = LATER_COLUMNS.get(table, ())
    if missing := [name for name in wanted.names if name not in stored.names and name not in later]:
        return f"it has no column {missing[0]}"
    if unknown := [name for name in stored.names if name not in wanted.names]:
        return f"it has a column {unknown[0]!r}"
    for field in (field for field in wanted if field.name in stored.names):
        found = stored.field(field.name)
        if found.type != field.type:
            return f"its column {field.name} holds {found.type}, not {field.type}"
        if found.nullable and not field.nullable:
            return f"its column {field.name} may be without a value"
    return None


def conform(rows: pa.Table, stored: pa.Schema, table: str) -> tuple[pa.Table, bool]:
    """Rows with the stored columns and types, and whether they bring columns that the table lacks.

    Only `matches` takes new return horizons, and any table its `LATER_COLUMNS`. Raises ValueError if a column is
    unknown, or a required one missing.
    """
    known = set(stored.names)
    new = [field for field in _may_come(rows, table) if field.name in rows.column_names and field.name not in known]
    fields = [*stored, *new]
    unknown = set(rows.column_names) - {field.name for field in fields}
    missing = [f.name for f in fields if f.name not in rows.column_names and not f.nullable]
    if unknown or missing:
        raise ValueError(f"rows for table {table}: unknown columns {sorted(unknown)}, missing columns {missing}")
    columns = [rows[f.name] if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in fields]
    return pa.table(columns, names=[f.name for f in fields]).cast(pa.schema(fields)), bool(new)


def _may_come(rows: pa.Table, table: str) -> list[pa.Field]:
    schema = table_schema(table)
    horizons = [pa.field(f"r{h}", pa.float32()) for h in horizons_of(rows)] if table == "matches" else []
    return [*(schema.field(name) for name in LATER_COLUMNS.get(table, ())), *horizons]


def with_later_columns(rows: pa.Table, columns: Sequence[str] | None, table: str) -> pa.Table:
    """Rows as read, with nulls in the `LATER_COLUMNS` that the table lacks, in the order of `columns` if given.

    All columns of `factors` come in the order of `table_schema`: a table that gets several later ones has these in any.
    """
    schema = table_schema(table)
    for name in LATER_COLUMNS.get(table, ()):
        if name not in rows.column_names and (columns is None or name in columns):
            rows = rows.append_column(schema.field(name), pa.nulls(len(rows), schema.field(name).type))
    if columns is None:
        return rows.select(schema.names) if table == "factors" else rows
    return rows.select(list(columns))

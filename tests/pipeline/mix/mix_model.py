"""What a mix must be, in plain Python: random sources with the rows that each one gives, and recipes over them.

Nothing here uses what plans or builds mixes: a source's conditions and columns are pairs of SQL and the same in Python.
"""

import json
import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.writer import FileWriter

LETTERS = "abcdefgh"
TAGS = pa.list_(pa.struct([("k", pa.string()), ("v", pa.int64())]))
META = pa.struct([("lang", pa.string()), ("n", pa.int32())])
WHERE = {
    "key is not null and key % 3 <> 0": lambda row: row["key"] is not None and row["key"] % 3 != 0,
    "uid not like '%7'": lambda row: not row["uid"].endswith("7"),
    "score is null or key < 20": lambda row: row["score"] is None or (row["key"] is not None and row["key"] < 20),
    "meta.lang = 'en'": lambda row: bool(row["meta"]) and row["meta"]["lang"] == "en",
}
MADE = {
    "kind": ("'web'", lambda row: "web"),
    "rank": ("3", lambda row: 3),
    "nothing": ("null", lambda row: None),
    "lang": ("meta.lang", lambda row: (row["meta"] or {}).get("lang")),
    "twice": ("key * 2", lambda row: None if row["key"] is None else row["key"] * 2),
}
DECLARED = {"uid": "string", "key": "bigint", "score": "double", "text": "string", "rank": "bigint", "kind": "string"}
# A row comes back changed behind itself, so that there are more rows than the file has.
FUNCTION = """
import pyarrow as pa
import pyarrow.compute as pc

def again(rows):
    names = pc.binary_join_element_wise(rows["uid"], pa.scalar("+"), "").cast(rows.schema.field("uid").type)
    return pa.concat_batches([rows, rows.set_column(rows.schema.get_field_index("uid"), rows.schema.field("uid"), names)])
"""


def canonical(value):
    """A value that can be compared and counted: with one NaN, and zeros that differ."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return tuple((name, canonical(one)) for name, one in value.items())
    if isinstance(value, list):
        return tuple(map(canonical, value))
    return value


@dataclass(repr=False)
class ModelSource:
    """A source: its keys in the recipe, its files as (schema, row groups of rows), and how its columns are made."""

    name: str
    keys: dict
    files: list
    made: dict
    where: object = None
    is_function: bool = False

    def __repr__(self):
        files = [(schema.metadata[b"options"], [*map(len, groups)], schema.names) for schema, groups in self.files]
        return f"<{self.name}: {self.keys} {files}>"

    def _repr_pretty_(self, printer, _):
        printer.text(repr(self))

    def kept(self):
        """For each file, the rows that come out of its conditions and columns."""
        return [[self._made(row) for group in groups for row in self._chosen(group)] for _, groups in self.files]

    def _chosen(self, group):
        columns = {name for schema, _ in self.files for name in schema.names}
        rows = [dict.fromkeys(columns) | row for row in group]
        rows = [row for row in rows if self.where is None or self.where(row)]
        return rows + [row | {"uid": row["uid"] + "+"} for row in rows] if self.is_function else rows

    def _made(self, row):
        return {name: make(row) for name, make in self.made.items()}


@dataclass
class Model:
    """A recipe's keys, and its sources."""

    keys: dict
    sources: list

    def write(self, folder: Path, target: str = "./out") -> str:
        """Write the sources' files; the recipe's text."""
        (folder / "rowcode.py").write_text(FUNCTION)
        written = []
        for source in self.sources:
            paths = [f"{source.name}-{number}.parquet" for number in range(len(source.files))]
            for path, (schema, groups) in zip(paths, source.files, strict=True):
                (folder / path).write_bytes(file_bytes(schema, groups))
            written.append({"name": source.name, "parquet": paths, **source.keys})
        return json.dumps({"target": target, **self.keys, "sources": written})

    def columns(self):
        """The columns of the mix without those that it adds."""
        declared = self.keys.get("columns")
        return list(declared or dict.fromkeys(name for source in self.sources for name in source.made))

    def rows(self):
        """For each file of each source, the rows that a mix may draw, as dicts of the mix's columns."""
        columns, seen = self.columns(), set()
        by = self.keys.get("dedup_by")
        found = []
        for source in self.sources:
            files, number = [], 0
            for rows in source.kept():
                whole = [{name: row.get(name) for name in columns} for row in rows]
                if by is not None:
                    whole = [row for row in whole if _is_first(row, columns if by == "content" else by, seen)]
                files.append([row | self._added(source, number + place) for place, row in enumerate(whole)])
                number += len(whole)
            found.append(files)
        return found

    def _added(self, source, number):
        names = self.keys.get("source_column", "source"), self.keys.get("source_row_column")
        return {name: value for name, value in zip(names, (source.name, number), strict=True) if name}


def _is_first(row, columns, seen):
    """Zeros are equal when rows are compared, and so are all NaN."""
    key = tuple(canonical(row[name] + 0.0 if isinstance(row[name], float) else row[name]) for name in columns)
    if key in seen:
        return False
    seen.add(key)
    return True


def file_bytes(schema, groups):
    """A Parquet file, as its schema's metadata says: in our layout, or by pyarrow's own writer."""
    sink = pa.BufferOutputStream()
    options = json.loads(schema.metadata[b"options"])
    plain = schema.remove_metadata()
    tables = [pa.Table.from_pylist(rows, plain) for rows in groups]
    if options.pop("padded"):
        writer = FileWriter(sink, plain, layout=Layout(kind=Kind.BLOCKS), features=None, identity=repr(groups)[:80])
        for table in tables:
            writer.write_row_group(table)
        writer.close()
    else:
        with pq.ParquetWriter(sink, plain, **options) as writer:
            for table in tables:
                writer.write_table(table)
    return sink.getvalue().to_pybytes()


def draws_of(model, available, place=0):
    """The rows that each source gives to a split: (base, rows), or bounds that hold for any way of sharing by weights.

    `available` are the rows of the split that each source has. Gives None where weights decide: `check_weights` then.
    """
    if "temperature" in model.keys or any("weight" in source.keys for source in model.sources):
        return None
    shares = [Fraction(str(one)) for one in model.keys.get("splits", {"": 1}).values()]
    found = []
    for source, rows in zip(model.sources, available, strict=True):
        take = source.keys.get("take")
        if take is None:
            base = rows
        elif isinstance(take, float):
            base = round(Fraction(take) * rows)
        else:
            base = min(rows, _largest_remainders(shares, take)[place])
        found.append((base, round(base * Fraction(source.keys.get("repeat", 1)))))
    return found


def check_weights(model, available, rows, place=0):
    """Rows in proportion to the weights, to within one row, up to what `max_repeat` allows; and no fewer than can be had."""
    power = model.keys.get("temperature")
    weights = [
        (Fraction(f"{have ** (1 / power):.12e}") if power else Fraction(source.keys["weight"])) * (have > 0)
        for source, have in zip(model.sources, available, strict=True)
    ]
    limits = [
        int(Fraction(source.keys["max_repeat"]) * have) if "max_repeat" in source.keys else None
        for source, have in zip(model.sources, available, strict=True)
    ]
    total = model.keys.get("total_rows")
    if total is None:
        most = [have if limit is None else limit for have, limit in zip(available, limits, strict=True)]
        total = int(min((m / w for m, w in zip(most, weights, strict=True) if w), default=0) * sum(weights))
    else:
        shares = [Fraction(str(one)) for one in model.keys.get("splits", {"": 1}).values()]
        total = _largest_remainders(shares, total)[place]
    can = [limit for limit, weight in zip(limits, weights, strict=True) if weight]
    assert sum(rows) == (total if not can or None in can else min(total, sum(can))) * any(weights)
    per = [(got, weight, limit) for got, weight, limit in zip(rows, weights, limits, strict=True) if weight]
    for got, weight, limit in per:
        assert limit is None or got <= limit
        for other, its_weight, its_limit in per:
            if other != its_limit:  # who is not full has no less than its share, against anybody
                assert got * its_weight <= other * weight + weight + its_weight


def _largest_remainders(shares, total):
    exact = [share * total / sum(shares) for share in shares]
    counts = [int(one) for one in exact]
    for place in sorted(range(len(exact)), key=lambda n: counts[n] - exact[n])[: total - sum(counts)]:
        counts[place] += 1
    return counts


def models(*, order=None, alike=False):
    """Recipes over one to four sources of one to three files. `alike`: all sources have the same columns and types."""
    return st.integers(0, 2**48).map(lambda seed: _model(random.Random(seed), order, alike=alike))


def _model(rng, order, *, alike):
    by_content = not alike and rng.random() < 1 / 10
    common = _column_types(rng) if alike else None
    sources = [_source(rng, f"s{n}", common) for n in range(rng.randint(1, 4))]
    model = Model(keys=_recipe(rng, order), sources=sources)
    _draw_quantities(rng, model)
    there = [name for name in DECLARED if any(name in source.made for source in sources)]
    if by_content:
        model.keys["columns"] = {name: DECLARED[name] for name in there if name != "uid"}
        model.keys["dedup_by"] = "content"
    elif not alike:
        if rng.random() < 1 / 4:
            model.keys["columns"] = {name: DECLARED[name] for name in rng.sample(there, len(there))}
        by = rng.choice([None, None, None, ["key"], ["key", "text"], ["score", "key"]])
        if by is not None and set(by) <= set(model.columns()):
            model.keys["dedup_by"] = by
    return model


def _recipe(rng, order):
    """The keys that say how the mix is ordered and cut into files."""
    keys = {"seed": rng.randrange(1000), "shuffle": order or rng.choice(["blocks", "rows", "none", None])}
    if keys["shuffle"] == "blocks" and (rng.random() < 0.5):
        keys["spread"] = "random"
    keys |= rng.choice([{}, {}, {"block_rows": 1}, {"block_rows": 4}, {"block_rows": 25}, {"block_bytes": "64KB"}])
    keys |= rng.choice(
        [{}, {"shards": 2}, {"shards": 5}, {"shard_rows": 30}, {"shards_multiple_of": 3}, {"shard_bytes": "64KB"}]
    )
    keys |= rng.choice([{}, {}, {"splits": {"train": 0.75, "test": 0.25}}])
    keys |= rng.choice([{}, {"source_column": False}, {"source_column": "from"}])
    keys |= rng.choice([{}, {}, {"source_row_column": "row"}])
    return {name: value for name, value in keys.items() if value is not None}


def _draw_quantities(rng, model):
    """How many rows: of each source by itself, or in proportion."""
    how = rng.choice(["own", "own", "weight", "temperature"])
    for source in model.sources:
        if how == "own":
            source.keys |= rng.choice([{}, {}, {"take": 11}, {"take": 0.4}, {"take": 1}])
            source.keys |= rng.choice([{}, {}, {"repeat": 2}, {"repeat": 2.5}, {"repeat": 0.5}])
        if how == "weight":
            source.keys["weight"] = rng.choice([1, 0.5, 3, 0.1])
        if how != "own":
            source.keys |= rng.choice([{}, {}, {"max_repeat": 1}, {"max_repeat": 2.5}])
    if how == "temperature":
        model.keys["temperature"] = rng.choice([1, 2, 5.5])
    if how != "own":
        model.keys |= rng.choice([{}, {"total_rows": 37}, {"total_rows": 150}])


def _column_types(rng):
    return {
        "uid": pa.string(),
        "key": rng.choice([pa.int32(), pa.int64()]),
        "score": rng.choice([pa.float32(), pa.float64()]),
        "text": rng.choice([pa.string(), pa.large_string()]),
        "tags": TAGS,
        "meta": META,
    }


def _source(rng, name, common):
    text = rng.choice(["text", "body"]) if common is None else "text"
    some = {"uid", "key", *rng.sample(["score", "text", "tags", "meta"], rng.randrange(5))}
    options = {
        "text": text,
        "required": (rng.random() < 0.5),
        "padded": (rng.random() < 0.5),
        "compression": rng.choice(["snappy", "zstd", "none"]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "write_page_index": (rng.random() < 0.5),
    }
    files = []
    for number in range(rng.randint(1, 3)):
        types = {column: kind for column, kind in (common or _column_types(rng)).items() if common or column in some}
        if common is None and number and rng.random() < 1 / 5:
            types.pop(rng.choice(sorted(types.keys() - {"uid"})))
        rows = rng.choice([30, 7, 60, 1, 0] if number else [30, 12, 60])
        files.append(_file(rng, types, [_row(rng, f"{name}-{number}-{row}", text) for row in range(rows)], options))
    has = {column for schema, _ in files for column in schema.names}
    keys, made = _changes(rng, has, text) if common is None else ({}, {column: _column(column) for column in has})
    fitting = [
        sql for sql, needs in zip(WHERE, ({"key"}, set(), {"score", "key"}, {"meta"}), strict=True) if needs <= has
    ]
    where = rng.choice([None, None, *fitting])
    is_function = common is None and "map" not in keys and rng.random() < 1 / 8
    keys |= {"where": where} if where else {}
    keys |= {"map": "rowcode:again"} if is_function else {}
    keys |= rng.choice([{}, {}, {"copy": "never"}])
    return ModelSource(name=name, keys=keys, files=files, made=made, where=WHERE.get(where), is_function=is_function)


def _file(rng, types, rows, options):
    """The schema of a file, whose metadata says how it is written, and its row groups, of one of some sizes."""
    text, required, own = options["text"], options["required"], {**options}
    fields = [
        pa.field(text if column == "text" else column, kind, not (required and column == "uid"))
        for column, kind in types.items()
    ]
    for key in ("text", "required"):
        del own[key]
    schema = pa.schema(fields, metadata={"options": json.dumps(own)})
    size = rng.choice([2, 1, 3, 13, 60])
    table = pa.Table.from_pylist(rows, schema)
    return schema, [table.slice(start, size).to_pylist() for start in range(0, len(rows), size)]


def _row(rng, uid, text):
    nulls = rng.random() < 0.1
    return {
        "uid": uid,
        "key": None if nulls else rng.randrange(40),
        "score": rng.choice([None, float("nan"), -0.0, 0.0, rng.random()]),
        text: rng.choice([None, "", "".join(rng.choices(LETTERS, k=rng.randrange(12)))]),
        "tags": rng.choice([None, [], [{"k": rng.choice(LETTERS), "v": rng.randrange(9)}] * rng.randrange(3)]),
        "meta": rng.choice([None, {"lang": rng.choice(["en", "fr", None]), "n": rng.randrange(9)}]),
    }


def _column(name):
    return lambda row: row[name]


def _changes(rng, has, text):
    """The keys `columns`, `map` and `cast` of a source, and what they make of a row."""
    made = {column: _column(column) for column in has}
    columns = {}
    if text == "body" and "body" in has:
        columns["text"], made["text"] = "body", made.pop("body")
    new = [name for name in MADE if {"lang": "meta"}.get(name, "key") in has]
    for name in rng.sample(new, rng.randrange(min(3, len(new) + 1))):
        columns[name], made[name] = MADE[name]
    if columns and (rng.random() < 0.5):
        columns |= {"uid": "uid", "key": "key"}
        made = {name: made[name] for name in columns}
    elif columns:
        columns["*"] = "*"
    keys = {"columns": columns} if columns else {}
    if "text" in made and rng.random() < 1 / 5:
        plain = made["text"]
        keys["map"] = {"text": "upper(text)"}
        made = made | {"text": lambda row: None if plain(row) is None else plain(row).upper()}
    if rng.random() < 1 / 5:
        keys["cast"] = {"key": "bigint"}
    return keys, made

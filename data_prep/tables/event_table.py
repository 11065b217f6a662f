"""A table of events in DuckDB, which keeps on disk what its memory limit does not allow.

Every statement gives the same result with any number of threads: rows carry their position in the
source, which decides between equal times, and names are numbered by position or alphabetically.
"""

import errno
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from lla.common.errors import InputError
from lla.common.parallel import default_threads
from lla.common.progress import progress

MEMORY = 3 * 2**28  # bytes that DuckDB may use
BATCH = 1 << 18  # events handed over at once
# In lower case; what other programs write for a missing value.
MISSING_MARKS = ["null", "nan", "na", "n/a", "none", "nil", "<na>", "#n/a", "\\n"]
ORDER = "user_id, time_integer, time_fraction, position"


class EventTable:
    """Events (user, item, time), filtered step by step and read back as histories.

    Add all rows with `append`, then call `number_names` once, then the filters in any order.

    Parameters
    ----------
    folder : Path
        Where DuckDB puts temporary files, in a folder that is removed at the end.

    Attributes
    ----------
    n : int
        Rows added.
    unified : list of str
        Whether ``"user"`` and ``"item"`` have ids as ``12.0`` that were taken as ``12``, which
        is done where all ids are whole numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.n = 0
        self.unified: list[str] = []
        self._folder = folder

    def __enter__(self) -> "EventTable":
        with ExitStack() as stack:
            # DuckDB takes no path that is not UTF-8.
            beside = self._folder if is_utf8(self._folder) else None
            temporary = stack.enter_context(TemporaryDirectory(dir=beside, prefix=".tmp-"))
            config: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": f"{MEMORY}B",
                "threads": default_threads(),
                "temp_directory": temporary,
                # Order comes from the column `position` instead, which needs less memory.
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                # Names in statements are tables, never variables of this module.
                "python_enable_replacements": False,
            }
            self._engine = stack.enter_context(duckdb.connect(config=config))
            self._run(
                "CREATE TABLE source (user_name VARCHAR, item_name VARCHAR, time_integer BIGINT, "
                "time_fraction DOUBLE, position BIGINT)"
            )
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def append(
        self, user: pa.Array, item: pa.Array, integer: np.ndarray, fraction: np.ndarray
    ) -> None:
        """Add rows: names as text, times as the keys of `data_prep.tables.times.TimeParser`."""
        block = pa.table(
            {
                "user_name": user,
                "item_name": item,
                "time_integer": integer,
                # Without negative zeros, which equal zero but may be stored differently.
                "time_fraction": fraction + 0.0,
                "position": np.arange(self.n, self.n + len(user)),
            }
        )
        self._engine.register("block", block)
        self._run("INSERT INTO source SELECT * FROM block")
        self._engine.unregister("block")
        self.n += len(user)

    def number_names(self, drop_duplicates: bool) -> tuple[int, int]:
        """Replace names by ids: users as first named, items alphabetically; their numbers.

        Parameters
        ----------
        drop_duplicates : bool
            Of events with the same user, item and time, keep the first.
        """
        orders = {"user": "min(position)", "item": "name"}
        for role in progress(orders, description="numbering users and items", unit="step"):
            self._number(role, f"{role}_name", orders[role])
            if self._all_whole(role):
                self.unified.append(role)
                self._number(role, self._id_of(role), orders[role])
        columns = "user_id, item_id, time_integer, time_fraction"
        events = f"""
            SELECT user_id::INTEGER AS user_id, item_id::INTEGER AS item_id,
                time_integer, time_fraction, position
            FROM source JOIN users ON users.user_name = {self._id_of("user")}
            JOIN items ON items.item_name = {self._id_of("item")}"""
        if drop_duplicates:
            events = f"SELECT {columns}, min(position) AS position FROM ({events}) GROUP BY ALL"
        self._run(f"CREATE TABLE events AS {events}")
        self._run("DROP TABLE source")
        return self._count("users"), self._count("items")

    def _id_of(self, role: str) -> str:
        """The expression for the id of a row of `source`."""
        name = f"source.{role}_name"
        return f"regexp_replace({name}, '\\.0+$', '')" if role in self.unified else name

    def _number(self, role: str, name: str, order: str) -> None:
        """Make the table of the names of `role` and their ids."""
        self._run(
            f"CREATE OR REPLACE TABLE {role}s AS SELECT name AS {role}_name, "
            f"row_number() OVER (ORDER BY {order}) - 1 AS {role}_id "
            f"FROM (SELECT {name} AS name, position FROM source) GROUP BY name"
        )

    def _all_whole(self, role: str) -> bool:
        """Whether all names are whole numbers, some of them with zeros after the point."""
        whole = f"regexp_full_match({role}_name, '-?[0-9]+(\\.0+)?')"
        if not self._count(f"{role}s WHERE {role}_name LIKE '%.%0'"):
            return False
        return not self._count(f"{role}s WHERE NOT {whole}")

    def like_missing(self) -> dict[str, list[str]]:
        """Names of users and items that elsewhere mean a missing value."""
        found = {}
        for role in ("user", "item"):
            names = self._run(
                f"SELECT {role}_name FROM {role}s WHERE list_contains($marks, "
                f"lower({role}_name)) ORDER BY {role}_id",
                marks=MISSING_MARKS,
            )
            if names:
                found[role] = [name for (name,) in names]
        return found

    def n_events(self) -> int:
        """Number of events left."""
        return self._count("events")

    def n_users(self) -> int:
        """Number of users with events left."""
        # Faster than count(DISTINCT user_id).
        return self._count("(SELECT user_id FROM events GROUP BY user_id)")

    def n_items(self) -> int:
        """Number of items with events left."""
        return self._count("(SELECT item_id FROM events GROUP BY item_id)")

    def longest(self) -> int:
        """Events of the longest history; 0 without any."""
        found = self._run("SELECT max(n) FROM (SELECT count(*) AS n FROM events GROUP BY user_id)")
        return found[0][0] or 0

    def keep_core(self, min_user: int, min_item: int) -> None:
        """Keep the k-core: the largest set of users and items with enough events of each other."""
        with progress(description="filtering", unit="pass") as bar:
            n_before = None
            while n_before != self.n_events():
                n_before = self.n_events()
                self._keep_frequent("user_id", min_user)
                self._keep_frequent("item_id", min_item)
                bar.update()

    def keep_users(self, min_length: int) -> None:
        """Keep the users with `min_length` events or more."""
        self._keep_frequent("user_id", min_length)

    def keep_items(self, size: int) -> None:
        """Keep the `size` most frequent items, ties in alphabetical order."""
        self._run(
            "DELETE FROM events WHERE item_id IN (SELECT item_id FROM events GROUP BY item_id "
            "ORDER BY count(*) DESC, item_id OFFSET $size)",
            size=size,
        )

    def keep_named(self, items: Sequence[str]) -> None:
        """Keep the items of these names."""
        self._engine.register("known", pa.table({"item_name": pa.array(items, pa.large_string())}))
        self._run(
            "DELETE FROM events WHERE item_id NOT IN "
            "(SELECT item_id FROM items JOIN known USING (item_name))"
        )
        self._engine.unregister("known")

    def keep_last(self, max_length: int) -> None:
        """Keep the last `max_length` events of each user."""
        # Copied, as a list of the rows to delete may be larger than memory.
        self._run(
            "CREATE TABLE cut AS SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY "
            "user_id ORDER BY time_integer DESC, time_fraction DESC, position DESC) <= $max_length",
            max_length=max_length,
        )
        self._run("DROP TABLE events")
        self._run("ALTER TABLE cut RENAME TO events")

    def vocabulary(self) -> tuple[list[str], np.ndarray]:
        """Names of the items, the most frequent first, and their ids, (V,)."""
        found = self._arrow(
            "SELECT item_name, item_id FROM items JOIN (SELECT item_id, count(*) AS n FROM events "
            "GROUP BY item_id) USING (item_id) ORDER BY n DESC, item_id"
        )
        return found["item_name"].to_pylist(), found["item_id"].to_numpy()

    def users(self) -> tuple[list[str], np.ndarray]:
        """Names of the users, in order, and the lengths of their histories, (U,)."""
        found = self._arrow(
            "SELECT user_name, n FROM users JOIN (SELECT user_id, count(*) AS n FROM events "
            "GROUP BY user_id) USING (user_id) ORDER BY user_id"
        )
        return found["user_name"].to_pylist(), found["n"].to_numpy()

    def item_ids(self) -> Generator[np.ndarray]:
        """Item ids of all events by user and time, in batches."""
        with _as_builtin_errors():
            query = self._engine.sql(f"SELECT item_id FROM events ORDER BY {ORDER}")
            with query.to_arrow_reader(BATCH) as batches:
                for batch in batches:
                    yield batch.column(0).to_numpy()

    def _keep_frequent(self, column: str, least: int) -> None:
        if least > 1:
            self._run(
                f"DELETE FROM events WHERE {column} IN (SELECT {column} FROM events "
                f"GROUP BY {column} HAVING count(*) < $least)",
                least=least,
            )

    def _count(self, table: str) -> int:
        return self._run(f"SELECT count(*) FROM {table}")[0][0]

    def _run(self, statement: str, **parameters: Any) -> list[tuple]:
        with _as_builtin_errors():
            return self._engine.execute(statement, parameters).fetchall()

    def _arrow(self, query: str) -> pa.Table:
        with _as_builtin_errors():
            return self._engine.sql(query).to_arrow_table()


def is_utf8(path: Path) -> bool:
    """Whether the name of a file or folder is UTF-8."""
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _as_builtin_errors() -> Iterator[None]:
    """Turn DuckDB's errors into the exceptions that the rest of the project knows."""
    try:
        yield
    except (RuntimeError, duckdb.InterruptException) as error:
        # Ctrl-C while DuckDB executes a statement.
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from None
        raise
    except duckdb.OperationalError as error:
        message = str(error)
        if "No space left" in message or "max_temp_directory_size" in message:
            raise OSError(errno.ENOSPC, "no space left on the disk") from None
        if isinstance(error, duckdb.OutOfMemoryException):
            fewer = "use fewer threads (LLA_THREADS=1), or " if default_threads() > 1 else ""
            raise InputError(
                f"the table of events needs more than {MEMORY >> 20} MiB of memory; {fewer}raise "
                "MEMORY in data_prep/tables/event_table.py"
            ) from None
        raise

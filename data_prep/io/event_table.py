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
from lla.common.progress import progress
from lla.common.threads import default_threads

MEMORY = 3 * 2**28  # bytes that DuckDB may use
BATCH = 1 << 18  # events handed over at once
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
    """

    def __init__(self, folder: Path) -> None:
        self.n = 0
        self._folder = folder

    def __enter__(self) -> "EventTable":
        with ExitStack() as stack:
            temporary = stack.enter_context(TemporaryDirectory(dir=self._folder, prefix=".tmp-"))
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
        """Add rows: names as text, times as the keys of `data_prep.io.times.TimeParser`."""
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
        columns = "user_id, item_id, time_integer, time_fraction"
        events = """
            SELECT user_id::INTEGER AS user_id, item_id::INTEGER AS item_id,
                time_integer, time_fraction, position
            FROM source JOIN users USING (user_name) JOIN items USING (item_name)"""
        if drop_duplicates:
            events = f"SELECT {columns}, min(position) AS position FROM ({events}) GROUP BY ALL"
        statements = [
            """CREATE TABLE users AS
            SELECT user_name, row_number() OVER (ORDER BY min(position)) - 1 AS user_id
            FROM source GROUP BY user_name""",
            """CREATE TABLE items AS
            SELECT item_name, row_number() OVER (ORDER BY item_name) - 1 AS item_id
            FROM source GROUP BY item_name""",
            f"CREATE TABLE events AS {events}",
            "DROP TABLE source",
        ]
        for statement in progress(statements, description="numbering users and items", unit="step"):
            self._run(statement)
        return self._count("users"), self._count("items")

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
            raise InputError(
                f"the table of events needs more than {MEMORY >> 20} MiB of memory; use fewer "
                "threads (LLA_THREADS=1), or raise MEMORY in data_prep/io/event_table.py"
            ) from None
        raise

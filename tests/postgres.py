"""A real PostgreSQL of Debian's for the tests: its own cluster in a directory, on a Unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

_USER = "postgres"
# Its tables, indexes and sequences with their columns, defaults, constraints and triggers, its functions, its settings,
# and the schema's revision.
_SHAPE = """WITH ours AS (SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace), parts AS (
SELECT concat_ws(' ', relname, attname, atttypid, attnotnull) AS part FROM ours JOIN pg_attribute ON attrelid = ours.oid
UNION ALL SELECT concat_ws(' ', relname, pg_get_expr(adbin, adrelid)) FROM ours JOIN pg_attrdef ON adrelid = ours.oid
UNION ALL SELECT pg_get_indexdef(indexrelid) FROM ours JOIN pg_index ON indrelid = ours.oid
UNION ALL SELECT concat_ws(' ', relname, pg_get_constraintdef(pg_constraint.oid)) FROM ours
  JOIN pg_constraint ON conrelid = ours.oid
UNION ALL SELECT concat_ws(' ', relname, tgname, tgenabled) FROM ours JOIN pg_trigger ON tgrelid = ours.oid
  WHERE NOT tgisinternal
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
  WHERE datname = current_database()
UNION ALL SELECT version_num FROM alembic_version)
SELECT md5(string_agg(part, ',' ORDER BY part)) FROM parts"""
# What empties each: the table of the schema's revision keeps its row.
_TABLES = """SELECT CASE relkind WHEN 'r' THEN 'DELETE FROM ' || relname ELSE 'ALTER SEQUENCE ' || relname || ' RESTART'
END FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
AND relname <> 'alembic_version'"""


class PostgresServer:
    """One server. It runs as the user postgres, since it refuses to run as root."""

    def __init__(self, directory: Path, durable: bool = True) -> None:
        """Make the cluster and start it. `directory` must be short: a socket's path has 107 characters.

        Without `durable` nothing waits for the disk. What is committed outlives any end of its processes all the same.
        """
        self.directory, self._data, self._durable = directory, directory / "data", durable
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._copies: dict[str, list[str]] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(directory, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        self.start()

    @staticmethod
    def bin() -> Path | None:
        """Where the newest installed server's commands are; None without one."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
        if found:
            return found[-1].parent
        on_path = shutil.which("postgres")
        return Path(on_path).parent if on_path else None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = self._command(
            "postgres", "-D", str(self._data), "-k", str(self.directory), "-c", "listen_addresses=",
            "-c", "max_connections=50", *([] if self._durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]),
        )  # fmt: skip
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.directory / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and shuts down cleanly, SIGQUIT is a crash."""
        assert self._process is not None
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, how)
        self._process.wait(60)

    def freeze(self) -> None:
        """Let none of its processes go on: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, how: signal.Signals) -> None:
        pid = (self._data / "postmaster.pid").read_text().split()[0]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = stat.read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if pid in (parent, stat.parent.name):
                os.kill(int(stat.parent.name), how)

    def cpu_seconds(self) -> float:
        """CPU time of the server so far, with all its processes that live or have ended."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid or stat.parent.name == str(pid):
                ticks += int(fields[11]) + int(fields[12])
                if stat.parent.name == str(pid):
                    ticks += int(fields[13]) + int(fields[14])  # children that were waited for
        return ticks / os.sysconf("SC_CLK_TCK")

    def size_bytes(self) -> int:
        """What the latest new database takes on disk, indexes included."""
        with psycopg.connect(self._conninfo(f"ledger_{self._databases}")) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

    def database(self, more: str = "") -> str:
        """A new, empty database's SQLAlchemy URL; `more` is the rest of CREATE DATABASE."""
        self._databases += 1
        name = f"ledger_{self._databases}"
        self.execute(f"CREATE DATABASE {name} {more}")
        return self._url(name)

    def copy(self, template: str) -> str:
        """The URL of a database as `template`, which has no row: one given back if possible, as a copy takes 0.2 s."""
        free = self._copies.setdefault(template, [])
        while free:
            name = free.pop()
            with suppress(psycopg.Error):  # it was dropped, or its tables were
                if self._empty(name, template):
                    return self._url(name)
        return self.database(f"TEMPLATE {template}")

    def give_back(self, url: str, template: str) -> None:
        """Nobody uses this copy any more."""
        self._copies.setdefault(template, []).append(url.partition("@/")[2].partition("?")[0])

    def _empty(self, name: str, template: str) -> bool:
        """Delete all rows; False where somebody is connected to it or its tables are not those of the template."""
        with psycopg.connect(self._conninfo(template)) as connection:
            wanted = connection.execute(_SHAPE).fetchall()
        with psycopg.connect(self._conninfo(name)) as connection:
            others = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if others.fetchone() or connection.execute(_SHAPE).fetchall() != wanted:
                return False
            connection.execute("SET session_replication_role = replica")  # in any order, whatever refers to what
            kept = connection.execute(_TABLES).fetchall()
            connection.execute("; ".join(row[0] for row in kept))  # type: ignore[arg-type] # names of ours
        return True

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.directory}"

    def execute(self, statement: str) -> None:
        """A statement of the server, outside of any transaction."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload] # texts of ours

    def _conninfo(self, database: str) -> str:
        return f"host={self.directory} user={_USER} dbname={database}"

    def _command(self, name: str, *args: str) -> list[str]:
        directory = self.bin()
        assert directory is not None
        # The signal comes when the tests' process has gone, however it ended: no server outlives its tests.
        user = ["--reuid", _USER, "--regid", _USER, "--init-groups"] if os.geteuid() == 0 else []
        switch = ["setpriv", *user, "--pdeathsig", "INT"]
        return [*switch, str(directory / name), *args]

    def _run(self, name: str, *args: str) -> None:
        done = subprocess.run(self._command(name, *args), capture_output=True, text=True, cwd=self.directory)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")

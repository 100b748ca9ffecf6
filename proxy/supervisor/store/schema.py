"""The store's tables, form by form: the client keys, then what clients have stored."""

MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        client TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        created REAL NOT NULL,
        expires REAL,
        revoked REAL,
        last_used REAL,
        note TEXT NOT NULL,
        revision INTEGER NOT NULL UNIQUE
    ) WITHOUT ROWID;
    CREATE INDEX keys_of_client ON keys (client)
    """,
    """
    CREATE TABLE stored (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        tenant TEXT,
        client TEXT NOT NULL,
        backend TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        label TEXT NOT NULL,
        model TEXT NOT NULL,
        operation TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        pending INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX stored_of_client ON stored (client, kind, created, id);
    CREATE INDEX stored_that_expires ON stored (expires)
    """,
)
"""Times are in Unix seconds; NULL: never."""

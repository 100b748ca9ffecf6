"""The embedded store: one SQLite file, used by the supervisor and by commands at the same time.

`database` opens it and carries it over to the present form, `keys` is the table of client keys. Nothing here is
awaited: callers on a loop go through a thread.
"""

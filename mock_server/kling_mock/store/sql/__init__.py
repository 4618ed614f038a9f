"""The store in an SQL database, once for SQLite and PostgreSQL, with SQLAlchemy Core.

An account is one row, which every transaction on it locks; what falls due stands in that row too, so that couriers find it
by one index (`time.Time.due`).
The database is the only engine: there is no queue, lock service or cache of ours next to it.
"""

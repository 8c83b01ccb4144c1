//! People, sign-ins, keys, usage and audit, in SQLite or PostgreSQL.

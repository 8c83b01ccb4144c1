-- The same statements on SQLite and PostgreSQL. Times are seconds since the Unix epoch; hashes and sealed keys are text.

CREATE TABLE people (
    id TEXT PRIMARY KEY NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    name TEXT,
    disabled BOOLEAN NOT NULL DEFAULT FALSE,
    created BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);

-- A sign-in, with all the refresh tokens that descend from it; its id is the claim `sid` of access tokens.
CREATE TABLE families (
    id TEXT PRIMARY KEY NOT NULL,
    person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    device TEXT NOT NULL,
    address TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    revoked_at BIGINT,
    reason TEXT
);
CREATE INDEX families_of_a_person ON families (person);

CREATE TABLE refresh_tokens (
    hash TEXT PRIMARY KEY NOT NULL,
    family TEXT NOT NULL REFERENCES families (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    issued BIGINT NOT NULL,
    used_at BIGINT,
    -- One successor, whatever two gateways do at once.
    UNIQUE (family, generation)
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY NOT NULL,
    hash TEXT NOT NULL,
    label TEXT NOT NULL,
    owner TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT,
    expires BIGINT,
    revoked_at BIGINT
);

CREATE TABLE signing_keys (
    -- Of two gateways that make a key at once, one gets the number.
    number BIGINT PRIMARY KEY NOT NULL,
    kid TEXT NOT NULL UNIQUE,
    public TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    dropped_at BIGINT
);

CREATE TABLE usage (
    subject TEXT NOT NULL,
    day TEXT NOT NULL,
    audio_ms BIGINT NOT NULL,
    PRIMARY KEY (subject, day)
);
CREATE INDEX usage_of_a_day ON usage (day);

CREATE TABLE audit (
    -- Sorts by time.
    id TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    what TEXT NOT NULL,
    outcome TEXT NOT NULL,
    person TEXT,
    address TEXT,
    request TEXT
);
CREATE INDEX audit_by_time ON audit (at);

-- What gateways without a bus in common hear of each other, and what a gateway that starts has missed.
CREATE TABLE revocations (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX revocations_by_time ON revocations (at);

-- Stays empty unless TRANSCRIPT_RETENTION is set.
CREATE TABLE transcripts (
    id TEXT PRIMARY KEY NOT NULL,
    session TEXT NOT NULL,
    subject TEXT NOT NULL,
    utterance BIGINT NOT NULL,
    at BIGINT NOT NULL,
    language TEXT NOT NULL,
    target TEXT,
    text TEXT NOT NULL
);
CREATE INDEX transcripts_by_time ON transcripts (at);
CREATE INDEX transcripts_of_a_session ON transcripts (session);

-- The shape of the store, version 1 (PRAGMA user_version).
--
-- To change it: raise VERSION in file.py; write here what a new file looks like; add the steps that turn the version
-- before into this one to UPGRADES in file.py, in one transaction that ends with the new user_version; keep a file of
-- the old version in tests/data, which must open for ever. Instants are Unix seconds, durations seconds, sizes bytes.
--
-- job.py says the same about states and outcomes; a test compares the two. The words of a column are compared one by
-- one: for `IN` SQLite builds a table of them for every row, which was half of what an insert cost (7.9 µs, now 3.5).

-- Jobs that are alike for the claim: same user, same queue, same runtime. Few rows. The claim walks lanes, so a runtime
-- that cannot start, and later a queue that is paused or full, costs nothing while it waits.
CREATE TABLE lane (
    id       INTEGER PRIMARY KEY,
    uid      INTEGER NOT NULL,
    queue    TEXT NOT NULL,
    runtime  BLOB NOT NULL,            -- the packed record as the client sent it; empty: needs none
    UNIQUE (uid, queue, runtime)
) STRICT;

CREATE TABLE job (
    seq            INTEGER PRIMARY KEY,    -- the order of arrival; our own short name for the job
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    lane           INTEGER NOT NULL REFERENCES lane,
    priority       INTEGER NOT NULL,
    state          TEXT NOT NULL
        CHECK (state = 'queued' OR state = 'running' OR state = 'done' OR state = 'scheduled'),
    outcome        TEXT
        CHECK (outcome = 'succeeded' OR outcome = 'failed' OR outcome = 'timed_out' OR outcome = 'cancelled'
               OR outcome = 'expired' OR outcome = 'rejected' OR outcome = 'lost'),
    submitted      REAL NOT NULL,
    due            REAL NOT NULL,          -- may start from then on
    expires        REAL,                   -- must have started by then
    finished       REAL,
    forget         REAL,                   -- may be deleted from then on
    attempts       INTEGER NOT NULL DEFAULT 0,   -- begun; the newest attempt's number
    failures       INTEGER NOT NULL DEFAULT 0,
    interruptions  INTEGER NOT NULL DEFAULT 0,
    crashes        INTEGER NOT NULL DEFAULT 0,   -- the interruptions that no shutdown explains
    cancel_wanted  INTEGER NOT NULL DEFAULT 0,
    target         TEXT NOT NULL,          -- what it runs, for people
    reason         TEXT,                   -- why it was rejected or lost
    body           BLOB NOT NULL,          -- packed: what the attempt and a retry need (descriptor.BODY)
    CHECK ((state = 'done') = (outcome IS NOT NULL)),
    CHECK ((state = 'done') = (finished IS NOT NULL)),
    CHECK ((state = 'done') = (forget IS NOT NULL))
) STRICT;

CREATE INDEX ready ON job (lane, priority DESC, due, seq) WHERE state = 'queued';
CREATE INDEX scheduled ON job (due) WHERE state = 'scheduled';
CREATE INDEX running ON job (seq) WHERE state = 'running';
CREATE INDEX expiring ON job (expires) WHERE expires IS NOT NULL AND attempts = 0 AND outcome IS NULL;
CREATE INDEX forgettable ON job (forget) WHERE forget IS NOT NULL;

CREATE TABLE attempt (
    job           INTEGER NOT NULL REFERENCES job,
    number        INTEGER NOT NULL,
    generation    INTEGER NOT NULL,    -- of the zygote that was told to start it
    started       REAL NOT NULL,
    ended         REAL,
    reason        TEXT
        CHECK (reason = 'exit' OR reason = 'timeout' OR reason = 'cancel' OR reason = 'shutdown' OR reason = 'crash'),
    status        INTEGER,
    signal        INTEGER,
    user          REAL,
    system        REAL,
    max_rss       INTEGER,
    result        BLOB,                -- the packed return value
    result_error  TEXT,
    error         BLOB,                -- packed: type, message, traceback
    tail          BLOB,                -- the end of what it wrote
    dropped       INTEGER,
    survivors     INTEGER,
    PRIMARY KEY (job, number),
    CHECK ((ended IS NULL) = (reason IS NULL))
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;

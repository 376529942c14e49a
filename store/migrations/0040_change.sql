-- +goose Up
-- Changes: the fold of their facts, with the columns that are searched.
CREATE TABLE change (
  id          TEXT PRIMARY KEY,
  number      BIGINT NOT NULL UNIQUE,
  state       TEXT NOT NULL,
  runbook     TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  incident_id TEXT NOT NULL,
  text        TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  closed_at   BIGINT NOT NULL,
  wake_at     BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  body        TEXT NOT NULL
);
CREATE INDEX change_incident ON change (incident_id, number);
CREATE INDEX change_resource ON change (resource_id, number);
CREATE INDEX change_wake ON change (wake_at) WHERE state NOT IN ('closed', 'cancelled');
CREATE INDEX change_runbook ON change (runbook, resource_id, closed_at) WHERE runbook <> '';
-- At most one live change per runbook and resource.
CREATE UNIQUE INDEX change_runbook_live ON change (runbook, resource_id) WHERE runbook <> '' AND state NOT IN ('closed', 'cancelled');

-- Plans: every plan a change ever had.
CREATE TABLE plan (
  id        TEXT PRIMARY KEY,
  change_id TEXT NOT NULL REFERENCES change (id),
  revision  BIGINT NOT NULL,
  digest    TEXT NOT NULL,
  body      TEXT NOT NULL,
  UNIQUE (change_id, revision)
);

-- Approvals: every decision, also those that no longer count.
CREATE TABLE approval (
  change_id TEXT NOT NULL REFERENCES change (id),
  position  BIGINT NOT NULL,
  principal TEXT NOT NULL,
  decision  TEXT NOT NULL,
  digest    TEXT NOT NULL,
  revision  BIGINT NOT NULL,
  at        BIGINT NOT NULL,
  body      TEXT NOT NULL,
  PRIMARY KEY (change_id, position)
);
CREATE INDEX approval_principal ON approval (principal, at);

-- Runs: at most one per plan, and at most one unfinished per lock.
CREATE TABLE run (
  id          TEXT PRIMARY KEY,
  change_id   TEXT NOT NULL REFERENCES change (id),
  plan_id     TEXT NOT NULL UNIQUE REFERENCES plan (id),
  lock        TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  automated   BIGINT NOT NULL,
  state       TEXT NOT NULL,
  started_at  BIGINT NOT NULL,
  body        TEXT NOT NULL
);
CREATE INDEX run_started ON run (automated, started_at);
CREATE UNIQUE INDEX run_lock ON run (lock) WHERE state NOT IN ('succeeded', 'failed', 'rolled_back');

-- +goose Down
DROP TABLE run;
DROP TABLE approval;
DROP TABLE plan;
DROP TABLE change;

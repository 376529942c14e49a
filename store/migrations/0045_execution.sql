-- +goose Up
-- Executions: the journal written before a tool is called. One row per plan,
-- applied run or rollback; never begun twice.
CREATE TABLE execution (
  id         TEXT PRIMARY KEY,
  change_id  TEXT NOT NULL,
  run_id     TEXT NOT NULL,
  phase      TEXT NOT NULL,
  lease      TEXT NOT NULL,
  holder     TEXT NOT NULL,
  epoch      BIGINT NOT NULL,
  plan       TEXT NOT NULL,
  output     TEXT NOT NULL,
  error      TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL
);
CREATE INDEX execution_change ON execution (change_id);
CREATE INDEX execution_lease_phase ON execution (lease, phase);

-- Leases: who may work on a resource now. A row stays when its lease is given
-- back, because its epoch must only rise.
CREATE TABLE execution_lease (
  name      TEXT PRIMARY KEY,
  execution TEXT NOT NULL,
  holder    TEXT NOT NULL,
  epoch     BIGINT NOT NULL,
  until_at  BIGINT NOT NULL
);

-- Marks: what an executor remembers of an effect it began, by token.
CREATE TABLE execution_mark (
  executor TEXT NOT NULL,
  token    TEXT NOT NULL,
  note     TEXT NOT NULL,
  at       BIGINT NOT NULL,
  PRIMARY KEY (executor, token)
);

-- Verifications: runs whose verdict is awaited or was given.
CREATE TABLE verification (
  run_id      TEXT PRIMARY KEY,
  change_id   TEXT NOT NULL,
  incident_id TEXT NOT NULL,
  applied_at  BIGINT NOT NULL,
  until_at    BIGINT NOT NULL,
  was         TEXT NOT NULL,
  ended_at    BIGINT NOT NULL
);
CREATE INDEX verification_incident ON verification (incident_id, ended_at);
CREATE INDEX verification_change ON verification (change_id, ended_at);

-- +goose Down
DROP TABLE verification;
DROP TABLE execution_mark;
DROP TABLE execution_lease;
DROP TABLE execution;

-- +goose Up
-- Backlog snapshots: one a day and team, at the team's local time of day.
CREATE TABLE backlog_snapshot (
  team  TEXT NOT NULL,
  day   TEXT NOT NULL,
  at    BIGINT NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (team, day)
);
CREATE INDEX backlog_snapshot_at ON backlog_snapshot (at);

-- +goose Down
DROP TABLE backlog_snapshot;

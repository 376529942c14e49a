-- +goose Up
-- Incidents: one cause each. The body is the whole record; the columns beside
-- it are what queries select and order by.
CREATE TABLE incident (
  id          TEXT PRIMARY KEY,
  number      BIGINT NOT NULL UNIQUE,
  state       TEXT NOT NULL,
  severity    TEXT NOT NULL,
  team        TEXT NOT NULL,
  group_key   TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  search      TEXT NOT NULL,
  opened_at   BIGINT NOT NULL,
  resolved_at BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  body        TEXT NOT NULL
);
CREATE INDEX incident_state ON incident (state, number);
CREATE INDEX incident_opened ON incident (opened_at);

-- Members: an alert as part of an incident, in its last known state.
CREATE TABLE alert (
  fingerprint TEXT NOT NULL,
  incident_id TEXT NOT NULL,
  state       TEXT NOT NULL,
  starts_at   BIGINT NOT NULL,
  last_seen   BIGINT NOT NULL,
  body        TEXT NOT NULL,
  PRIMARY KEY (fingerprint, incident_id)
);
CREATE INDEX alert_incident ON alert (incident_id);

-- Transitions: every change of an incident's state. The backlog at any instant
-- is computed from these.
CREATE TABLE incident_transition (
  incident_id TEXT NOT NULL,
  at          BIGINT NOT NULL,
  from_state  TEXT NOT NULL,
  to_state    TEXT NOT NULL,
  team        TEXT NOT NULL,
  severity    TEXT NOT NULL,
  seq         BIGINT NOT NULL,
  PRIMARY KEY (incident_id, seq)
);
CREATE INDEX incident_transition_at ON incident_transition (at);

-- +goose Down
DROP TABLE incident_transition;
DROP TABLE alert;
DROP TABLE incident;

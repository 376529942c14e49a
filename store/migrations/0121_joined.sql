-- +goose Up
-- The message of the signal log by which an alert last joined its incident, so
-- that what a fact only counts can be read.
ALTER TABLE alert ADD COLUMN joined BIGINT NOT NULL DEFAULT 0;
DROP INDEX alert_incident;
CREATE INDEX alert_incident ON alert (incident_id, joined);

-- +goose Down
DROP INDEX alert_incident;
CREATE INDEX alert_incident ON alert (incident_id);
ALTER TABLE alert DROP COLUMN joined;

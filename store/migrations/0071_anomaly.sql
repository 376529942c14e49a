-- +goose Up
-- Anomalies are found by what they are about.
ALTER TABLE anomaly ADD COLUMN watchers TEXT NOT NULL DEFAULT '';
ALTER TABLE anomaly ADD COLUMN entity TEXT NOT NULL DEFAULT '';
ALTER TABLE anomaly ADD COLUMN search TEXT NOT NULL DEFAULT ''; -- lower case: group, entity, features to blame

-- +goose Down
ALTER TABLE anomaly DROP COLUMN search;
ALTER TABLE anomaly DROP COLUMN entity;
ALTER TABLE anomaly DROP COLUMN watchers;

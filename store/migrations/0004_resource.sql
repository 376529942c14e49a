-- +goose Up
-- Resources: things observed and changed. A merged resource keeps its row and
-- points at the one that took it in.
CREATE TABLE resource (
  id          TEXT PRIMARY KEY,
  kind        TEXT NOT NULL,
  name        TEXT NOT NULL,
  labels      TEXT NOT NULL,
  depends_on  TEXT NOT NULL,
  merged_into TEXT NOT NULL,
  created_at  BIGINT NOT NULL
);

-- Aliases: every name a resource is known by, scheme:value, unique over all.
CREATE TABLE resource_alias (
  alias       TEXT PRIMARY KEY,
  resource_id TEXT NOT NULL REFERENCES resource (id)
);
CREATE INDEX resource_alias_resource ON resource_alias (resource_id);

-- +goose Down
DROP TABLE resource_alias;
DROP TABLE resource;

-- +goose Up
-- The resource graph: resource_id needs needs_id, as source says: config,
-- cloudformation:<stack> or terraform:<state>. Each source replaces its own.
CREATE TABLE resource_edge (
  source      TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  needs_id    TEXT NOT NULL,
  PRIMARY KEY (source, resource_id, needs_id)
);
CREATE INDEX resource_edge_resource ON resource_edge (resource_id);
CREATE INDEX resource_edge_needs ON resource_edge (needs_id);

-- It held what the configuration says, which every start says anew.
ALTER TABLE resource DROP COLUMN depends_on;

-- +goose Down
ALTER TABLE resource ADD COLUMN depends_on TEXT NOT NULL DEFAULT 'null';
DROP TABLE resource_edge;

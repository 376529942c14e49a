-- +goose Up
-- Work that one server does at a time and the next one goes on with. A row
-- that nobody holds has no owner; checkpoints are in the words of the scope.
CREATE TABLE lease (
  scope      TEXT NOT NULL,
  name       TEXT NOT NULL,
  owner      TEXT NOT NULL,
  epoch      BIGINT NOT NULL,
  held_until BIGINT NOT NULL,
  checkpoint TEXT NOT NULL,
  PRIMARY KEY (scope, name)
);

-- +goose Down
DROP TABLE lease;

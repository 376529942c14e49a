-- +goose Up
-- 1 for a change that waits until another one ends, which then wakes it.
ALTER TABLE change ADD COLUMN in_line BIGINT NOT NULL DEFAULT 0;
CREATE INDEX change_line ON change (number) WHERE in_line = 1;

-- +goose Down
DROP INDEX change_line;
ALTER TABLE change DROP COLUMN in_line;

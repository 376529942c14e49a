-- +goose Up
-- What was given up can be sent again by a person.
ALTER TABLE notification ADD COLUMN resent_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE notification ADD COLUMN resent_by TEXT NOT NULL DEFAULT '';
-- Lists of one state, newest first, and what came to an end of late.
CREATE INDEX notification_state ON notification (state, number);
CREATE INDEX notification_done ON notification (done_at);

-- +goose Down
DROP INDEX notification_done;
DROP INDEX notification_state;
ALTER TABLE notification DROP COLUMN resent_by;
ALTER TABLE notification DROP COLUMN resent_at;

-- +goose Up
-- Health checks of a run whose verdict is awaited: what each saw last.
CREATE TABLE verification_health (
  run_id     TEXT NOT NULL REFERENCES verification (run_id),
  check_name TEXT NOT NULL,
  health     TEXT NOT NULL,
  failures   BIGINT NOT NULL, -- in a row
  said       TEXT NOT NULL,
  at         BIGINT NOT NULL,
  PRIMARY KEY (run_id, check_name)
);

-- +goose Down
DROP TABLE verification_health;

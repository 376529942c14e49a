-- +goose Up
-- Principals: who may do what. Lists and maps are JSON.
CREATE TABLE principal (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  roles      TEXT NOT NULL,
  teams      TEXT NOT NULL,
  platforms  TEXT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- Tokens: credentials, of which only the SHA-256 is kept. Times of zero mean never.
CREATE TABLE token (
  id           TEXT PRIMARY KEY,
  principal_id TEXT NOT NULL REFERENCES principal (id),
  name         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  revoked_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL
);
CREATE INDEX token_principal ON token (principal_id);

-- Sessions: a browser signed in with a token; gone when the token is.
CREATE TABLE session (
  hash       TEXT PRIMARY KEY,
  token_id   TEXT NOT NULL REFERENCES token (id),
  csrf       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX session_expires ON session (expires_at);

-- +goose Down
DROP TABLE session;
DROP TABLE token;
DROP TABLE principal;

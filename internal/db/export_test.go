package db

// Waiting is how many writes wait for the one that runs.
func (d *DB) Waiting() int { return len(d.requests) }

// Package connector is the wall socket for ITSM platforms: the contract a
// driver keeps, the environment it lives in, and Conn, which stands in front
// of every driver and does once what each would otherwise do alone.
//
// A driver is a folder with one typed line:
//
//	var Driver = connector.Define("servicenow", Open)
//
//	func Open(ctx context.Context, cfg connector.Config[Auth, Options], env connector.Env) (connector.Platform, error)
//
// A driver speaks the words of ops on one side and its vendor's on the other;
// only it knows vendor field names and values. It keeps no state in memory
// that it cannot lose: everything lasting is in the platform or in
// Env.Records. It starts no goroutine that outlives a call unless it
// implements io.Closer. connectortest proves all this.
package connector

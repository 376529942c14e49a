package awsx

import "context"

// Call is one operation of an AWS service, with its input, its output and the
// service's options: a method of the service's client. A driver keeps the calls
// it makes and not the client. The linker must keep every method of a type that
// reflection can reach, since templates find methods by name, and from a driver
// reflection reaches what its fields hold: our clients brought 45 MB of
// operations that nobody calls.
type Call[In, Out, Options any] = func(context.Context, *In, ...func(*Options)) (*Out, error)

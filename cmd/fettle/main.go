// Command fettle closes the loop of IT operations; see the README.
package main

import (
	"os"

	_ "time/tzdata" // windows and teams name IANA zones; the host may have none

	"github.com/fettleops/fettle/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

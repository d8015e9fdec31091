// Command kuairelay takes the callbacks of one shared kuaidihelp account and posts each update, signed, to every tenant
// that it is owed to. See `kuairelay --help`; what the parts are is said in package kuairelay/relay.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"kuairelay/relay/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal asks to stop, a second one ends the program at once
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

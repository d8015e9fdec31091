package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"kuairelay/test/process"
)

// startPart runs one of the parts of this program as a process of its own.
func startPart(ctx context.Context, part string, options any) (*process.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	return process.Start(ctx, os.Stderr, self, part, string(text))
}

// startServer runs a part that serves, and returns its base URL, which is the first line that it prints.
func startServer(ctx context.Context, part string, options any) (*process.Process, string, error) {
	p, err := startPart(ctx, part, options)
	if err != nil {
		return nil, "", err
	}
	line, err := p.Stdout.ReadString('\n')
	if err != nil {
		p.Kill()
		return nil, "", fmt.Errorf("%s ended at once: %w", part, p.Wait())
	}
	return p, strings.TrimSpace(line), nil
}

// call runs a part that ends by itself, and reads the JSON that it prints.
func call(ctx context.Context, part string, options, result any) error {
	p, err := startPart(ctx, part, options)
	if err != nil {
		return err
	}
	err = json.NewDecoder(p.Stdout).Decode(result)
	if ended := p.Wait(); ended != nil {
		return fmt.Errorf("%s: %w", part, ended)
	}
	if err != nil {
		return fmt.Errorf("%s: read its result: %w", part, err)
	}
	return nil
}

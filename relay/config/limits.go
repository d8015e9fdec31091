package config

// Allowance is what a tenant may take of shared resources, over all replicas.
type Allowance struct {
	// Reads is how many requests a second may read or change what the relay keeps. Limits bounds those that subscribe.
	Reads   int
	Tests   int // test events a second
	Replays int // replays that run at one time; others wait for these
}

// parseBodies is the number of largest bodies that there is room for at least, so that one can be read while others
// are.
const parseBodies = 4

// allowance returns the keys of limits, which a tenant has as well, to override them.
func allowance(a *Allowance) []field {
	return []field{
		optional("reads", one(&a.Reads, wholeNumber(1, 100_000))),
		optional("tests", one(&a.Tests, wholeNumber(1, 1_000))),
		optional("replays", one(&a.Replays, wholeNumber(1, 100))),
	}
}

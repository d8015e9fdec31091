package config

// Allowance is what a tenant may take of what it shares with others, over all replicas.
type Allowance struct {
	// Reads are requests a second that read or change what the relay keeps. Limits bounds those that subscribe.
	Reads   int
	Tests   int // test events a second
	Replays int // replays that run at one time; others wait for these
}

// parseBodies is for how many of the largest bodies there is room at least, so that one can be read while others are.
const parseBodies = 4

// allowance returns the keys that stand in limits, and again in a tenant to override them there.
func allowance(a *Allowance) []field {
	return []field{
		optional("reads", one(&a.Reads, wholeNumber(1, 100_000))),
		optional("tests", one(&a.Tests, wholeNumber(1, 1_000))),
		optional("replays", one(&a.Replays, wholeNumber(1, 100))),
	}
}

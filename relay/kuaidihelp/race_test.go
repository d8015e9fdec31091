//go:build race

package kuaidihelp

// racing says that the race detector is on: pools then forget a quarter of what they are given, at random.
const racing = true

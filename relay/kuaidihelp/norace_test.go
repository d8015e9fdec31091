//go:build !race

package kuaidihelp

// racing says that the race detector is on.
const racing = false

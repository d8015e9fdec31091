package event

// Operator is the Name of the Actor who has shown a token of the operator.
const Operator = "operator"

// Actor is who did something. The zero Actor is nobody: the relay did it by itself, or a config says so.
type Actor struct {
	// Name is Operator, or the name of the tenant.
	Name string
	// Key is the name that the config gives to the key that was shown; empty: it gives none.
	Key string
	// From is the address that the request came from.
	From string
}

// Package relay wires the parts of kuairelay together, in one straight function (New), and runs them (Run). The parts
// do not know each other: each declares the small interface that it needs. Leaves (event, queue, ledger, kuaidihelp,
// signature, spool, workers, logonce) they may use.
//
//	POST /callback/{token} → ingest → intake.Parse → intake.Keep: route.Match → store.Accept → "success"
//	                                                       deliver.Pool → signed POST → store.Settle ↙
//
// A callback that the store does not take in time goes to the spool, and from there through the same Match and Accept
// later: see package intake.
package relay

// Package relay wires the parts of kuairelay together, in one straight function (New), and runs them (Run). The parts do not
// know each other: each declares the small interface that it needs.
//
//	POST /callback/{token} → ingest → kuaidihelp.Parse → route.Match → store.Accept → "success"
//	                                                                  ↘ deliver.Pool → signed POST → store.Settle
package relay

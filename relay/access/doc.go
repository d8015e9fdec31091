// Package access decides which requests come in, and how many: who a client is (its address, its key), which hosts and
// sites may use the private listener, how many connections there may be, how fast wrong keys are answered, and which
// share each tenant has.
package access

// Package access decides who may come in, and how much of it: who a client is (its address, its key), which hosts and
// sites the private listener takes, how many connections there may be, how fast wrong keys are answered, and which
// share each tenant has.
package access

// Package assemble turns a configuration into the options of the libraries. It
// is the only place that knows both.
package assemble

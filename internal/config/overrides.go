package config

import (
	"errors"
	"strconv"
	"time"
)

// Overrides are the values of the tuning flags of `sluice serve`. What is nil
// was not given. The texts have the form they have in the file.
type Overrides struct {
	Listen        []string // --listen; replaces listen and every [[listener]]
	Workers       *int     // --workers
	Accept        *string  // --accept, the mode
	AcceptPermits *int     // --accept-permits
	Linger        *string  // --linger, the mode
	LingerIdle    *time.Duration
	LingerTotal   *time.Duration
	KeepaliveIdle *time.Duration
	LogLevel      *string
}

// With returns a configuration in which flags beat the file, validated by the
// same rules; an error then begins with the flag instead of a position. c stays
// as it is, and must come from Load, Parse or With.
func (c *Config) With(o Overrides) (*Config, error) {
	if c.origin == nil {
		return nil, errors.New("override configuration: it was not loaded")
	}
	root := c.origin.tree.clone()
	if o.Listen != nil {
		root.drop("listener")
		root.override("--listen", o.listen(), "listen")
	}
	override(root, "--workers", o.Workers, ofInt, "workers")
	override(root, "--accept", o.Accept, ofString, "accept", "mode")
	override(root, "--accept-permits", o.AcceptPermits, ofInt, "accept", "permits")
	override(root, "--linger", o.Linger, ofString, "linger", "mode")
	override(root, "--linger-idle", o.LingerIdle, ofDuration, "linger", "idle")
	override(root, "--linger-total", o.LingerTotal, ofDuration, "linger", "total")
	override(root, "--keepalive-idle", o.KeepaliveIdle, ofDuration, "limits", "keepalive_idle")
	override(root, "--log-level", o.LogLevel, ofString, "log", "level")
	n, err := build(c.File, c.origin.src, root, nil, false)
	if err == nil {
		n.origin.files = c.origin.files
	}
	return n, err
}

func (o Overrides) listen() *node {
	n := &node{shape: anArray, at: pos{flag: "--listen"}}
	for _, address := range o.Listen {
		n.items = append(n.items, &node{shape: aString, at: n.at, text: address})
	}
	return n
}

func ofInt(v int) *node                { return &node{shape: anInteger, text: strconv.Itoa(v)} }
func ofString(v string) *node          { return &node{shape: aString, text: v} }
func ofDuration(v time.Duration) *node { return &node{shape: aString, text: v.String()} }

// override sets the key at the end of path if the flag was given.
func override[V any](root *node, flag string, value *V, of func(V) *node, path ...string) {
	if value != nil {
		root.override(flag, of(*value), path...)
	}
}

func (n *node) override(flag string, value *node, path ...string) {
	value.at = pos{flag: flag}
	for _, name := range path[:len(path)-1] {
		e := n.find(name)
		if e == nil {
			e = &entry{name: name, at: value.at, value: newTable(value.at)}
		}
		next := &entry{name: name, at: e.at, value: e.value.clone()}
		n.put(next)
		n = next.value
	}
	n.put(&entry{name: path[len(path)-1], at: value.at, value: value})
}

// clone copies a table but not what its values hold.
func (n *node) clone() *node {
	c := newTable(n.at)
	for _, e := range n.entries {
		if n.find(e.name) != nil {
			c.put(&entry{name: e.name, at: e.at, value: e.value})
		}
	}
	return c
}

// drop removes a key.
func (n *node) drop(name string) {
	if n.find(name) == nil {
		return
	}
	delete(n.index, name)
	for i, e := range n.entries {
		if e.name == name {
			n.entries = append(n.entries[:i:i], n.entries[i+1:]...)
			return
		}
	}
}

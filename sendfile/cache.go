package sendfile

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Cache keeps files open that were asked for lately, with what an answer says of them, so that a hot one costs no
// look-up. It is safe for concurrent use. A nil *Cache keeps nothing.
//
// A file is opened by its policy again once a second, while it is asked for. In between, one that is asked for seldom
// is compared with what its path reaches by then. Of one that is hot only the file itself is looked at, which costs no
// walk along its path: that it was written to, replaced by a rename or removed shows there, since all of these change
// its time of change. That a folder or a link on the way leads elsewhere by now may show a second later.
type Cache struct {
	most  int
	reads *Reads // nil: no bounds

	mu    sync.Mutex
	files map[key]*entry
	ring  []*entry // in no order; for the hand
	hand  int      // where the search for room goes on
	sweep *time.Timer
}

// Times of the cache.
const (
	cacheFresh = time.Second     // between two looks at a file by its policy
	cacheIdle  = 5 * time.Second // a file that nobody has asked for in one such time, at most in two, is closed
)

// hotUses is how often a file must be asked for within cacheFresh for no look at its path in between.
const hotUses = 8

// key is a path and the policy by which it is opened.
type key struct {
	path  string // of the file, which begins with that of the root
	root  int    // how much of it is the root; -1: no symbolic link may lie anywhere on the way
	links Symlinks
}

// open opens the file.
func (k *key) open(r *Reads) (*File, error) {
	if k.root < 0 {
		return openLinkless(r, k.path)
	}
	return openBelow(r, k.path[:k.root], k.path, k.links)
}

// entry is a place for an open file. The first to ask for it opens it, and those who come meanwhile wait for that.
type entry struct {
	key
	opened chan struct{} // closed when file or err is set, which then stay
	file   *File
	err    error

	// Under the cache's mu.
	ready bool // file is set
	place int  // in the ring, while the cache has it
	used  bool // since the hand or the sweep came by

	looked atomic.Int64 // nanoseconds since start: when it was opened, or found unchanged, by its policy
	uses   atomic.Int32 // since then
}

// start is what the times of entries count from: a difference of times is cheaper than a time.
var start = time.Now()

// NewCache returns a Cache that keeps at most so many descriptors, of files that are opened within the bounds of r, if it
// is not nil.
func NewCache(most int, r *Reads) *Cache {
	return &Cache{most: max(most, 0), reads: r, files: map[key]*entry{}}
}

// unkept is a cache that keeps nothing, for files that are to be opened anew.
func (r *Reads) unkept() *Cache { return &Cache{reads: r} }

// open returns the file of a key: a kept one, or a new one. The caller closes it.
func (c *Cache) open(k key) (*File, error) {
	switch {
	case c == nil:
		return k.open(nil)
	case c.most == 0:
		return k.open(c.reads)
	}
	for {
		e, state := c.find(k)
		switch state {
		case mine:
			return c.load(e)
		case others:
			if <-e.opened; e.err != nil {
				return nil, e.err // of the moment: it was not kept
			}
			continue
		}
		if c.current(e) {
			return e.file, nil
		}
		e.file.Close()
		c.drop(e)
	}
}

// found is what find found.
type found uint8

const (
	kept   found = iota // the file, of which the caller is an owner now
	mine                // a new entry: it is for the caller to open the file
	others              // somebody opens it
)

// find looks for the entry of a key.
func (c *Cache) find(k key) (*entry, found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.files[k]
	switch {
	case e == nil:
		e = &entry{key: k, opened: make(chan struct{})}
		c.files[k] = e
		return e, mine
	case !e.ready:
		return e, others
	}
	e.used = true
	e.file.retain()
	return e, kept
}

// load opens the file of a new entry. A failure is for those who wait, and not kept.
func (c *Cache) load(e *entry) (*File, error) {
	e.looked.Store(int64(time.Since(start)))
	file, err := e.key.open(c.reads)
	if outOfDescriptors(err) {
		c.Release()
		file, err = e.key.open(c.reads)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.file, e.err = file, err
	close(e.opened)
	if err != nil {
		delete(c.files, e.key) // nothing had to make room for it
		return nil, err
	}
	c.put(e)
	return file.retain(), nil // one owner is the caller, one the cache
}

// outOfDescriptors reports whether a failure is one for want of a descriptor.
func outOfDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// current reports whether the entry's file is still what its path reaches.
func (c *Cache) current(e *entry) bool {
	now, looked := int64(time.Since(start)), e.looked.Load()
	switch {
	case now-looked < int64(cacheFresh):
		if e.uses.Load() >= hotUses || e.uses.Add(1) > hotUses {
			return e.file.unchanged()
		}
		var st unix.Stat_t
		return unix.Stat(e.path, &st) == nil && identityOf(&st) == e.file.is
	case !e.looked.CompareAndSwap(looked, now):
		return true // somebody looks
	}
	e.uses.Store(0)
	again, err := e.key.open(c.reads)
	if err != nil {
		return errors.Is(err, ErrBusy) // nobody knows
	}
	defer again.Close()
	return again.is == e.file.is
}

// put makes room for an entry whose file is open, with mu held.
func (c *Cache) put(e *entry) {
	if len(c.ring) >= c.most {
		c.makeRoom()
	}
	e.ready, e.place = true, len(c.ring)
	c.ring = append(c.ring, e)
	if c.sweep == nil {
		c.sweep = time.AfterFunc(cacheIdle, c.giveIdle)
	}
}

// makeRoom gives up an entry that was not used since the hand came by (the clock algorithm), with mu held.
func (c *Cache) makeRoom() {
	for range 2 * len(c.ring) {
		c.hand = (c.hand + 1) % len(c.ring)
		if e := c.ring[c.hand]; e.idle() {
			c.give(e)
			return
		}
	}
}

// idle reports whether the entry was not used since it was asked the last time, with mu held.
func (e *entry) idle() bool {
	was := e.used
	e.used = false
	return !was
}

// drop gives an entry up, if the cache still has it.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[e.key] == e {
		c.give(e)
	}
}

// give gives an entry up, with mu held. Answers from its file go on.
func (c *Cache) give(e *entry) {
	delete(c.files, e.key)
	last := c.ring[len(c.ring)-1]
	c.ring[e.place], last.place = last, e.place
	c.ring[len(c.ring)-1] = nil
	c.ring = c.ring[:len(c.ring)-1]
	e.file.Close()
}

// giveIdle gives up what nobody asks for, so that neither the space of a deleted file nor its file system is held.
func (c *Cache) giveIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.ring) - 1; i >= 0; i-- {
		if e := c.ring[i]; e.idle() {
			c.give(e)
		}
	}
	if len(c.ring) == 0 {
		c.sweep = nil
	} else {
		c.sweep.Reset(cacheIdle)
	}
}

// Release gives up every file that is kept: for whoever has run out of descriptors. Answers from them go on.
func (c *Cache) Release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.ring) - 1; i >= 0; i-- {
		c.give(c.ring[i])
	}
}

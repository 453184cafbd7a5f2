package spawner

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// LookUp finds the addresses of a host's name.
type LookUp func(ctx context.Context, host string) ([]netip.Addr, error)

const (
	// resolveFor is how long an answer of the name service is used. Its own
	// time to live is not told by getaddrinfo.
	resolveFor = 5 * time.Second
	// lookUpTimeout bounds a look-up, which goes on behind requests that do not
	// wait for it any longer.
	lookUpTimeout = 10 * time.Second
)

// systemLookUp asks as every program does: hosts file, then name service.
func systemLookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolver remembers the addresses of names. It asks once for all who want to
// know at the same time.
type resolver struct {
	look LookUp

	mu    sync.Mutex
	names map[string]*resolved
}

// resolved is what is known of a name.
type resolved struct {
	addrs []netip.Addr  // the last good answer
	at    time.Time     // when the look-up ended that said so, or failed and left it
	err   error         // of the last look-up
	busy  chan struct{} // closed when the look-up that is under way ends; nil: none is
}

// addresses returns the addresses of a host: an IP address is its own, and a
// name is looked up unless an answer of after is known that is not older than
// resolveFor. It waits for at most limit. Where a look-up fails, or takes longer
// than half of that, the last good answer stands.
func (r *resolver) addresses(ctx context.Context, host string, after time.Time, limit time.Duration) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	r.mu.Lock()
	n := r.names[host]
	if n == nil {
		n = &resolved{}
		if r.names == nil {
			r.names = map[string]*resolved{}
		}
		r.names[host] = n
	}
	if len(n.addrs) > 0 && time.Since(n.at) < resolveFor && n.at.After(after) {
		defer r.mu.Unlock()
		return n.addrs, nil
	}
	if n.busy == nil {
		n.busy = make(chan struct{})
		go r.lookUp(host, n)
	}
	busy := n.busy
	if len(n.addrs) > 0 {
		limit /= 2 // the rest is for the connect
	}
	r.mu.Unlock()
	return r.wait(ctx, host, n, busy, limit)
}

// wait waits for a look-up.
func (r *resolver) wait(ctx context.Context, host string, n *resolved, busy chan struct{}, limit time.Duration) ([]netip.Addr, error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	err := fmt.Errorf("look up %s: no answer within %v", host, limit)
	ended := false
	select {
	case <-busy:
		ended = true
	case <-t.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(n.addrs) > 0:
		return n.addrs, nil
	case ended:
		return nil, n.err
	}
	return nil, err
}

func (r *resolver) lookUp(host string, n *resolved) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	addrs, err := r.look(ctx, host)
	r.mu.Lock()
	defer r.mu.Unlock()
	n.err = err
	if err == nil && len(addrs) > 0 {
		n.addrs = addrs
	}
	n.at = time.Now()
	close(n.busy)
	n.busy = nil
}

package spawner

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// noLimit bounds a connect for which there is no bound but the kernel's.
const noLimit = time.Hour

// dial connects to a target within the pool's ConnectTimeout, look-up included.
// Every address of a name is tried, in the order of the answer; when none takes
// the connection the name is looked up once more, and what is new is tried.
func (p *Pool) dial(ctx context.Context, t Target) (net.Conn, error) {
	if t.Network == "unix" && p.opt.Dial != nil {
		return p.opt.Dial(t.Network, t.Address, max(0, p.opt.ConnectTimeout))
	}
	limit := p.opt.ConnectTimeout
	if limit <= 0 {
		limit = noLimit
	}
	if t.Network == "unix" {
		d := net.Dialer{Timeout: limit, KeepAlive: -1}
		return d.DialContext(ctx, t.Network, t.Address)
	}
	host, port, err := splitTarget(t)
	if err != nil {
		return nil, err
	}
	c := call{ctx: ctx, port: port, deadline: time.Now().Add(limit)}
	began := time.Now()
	addrs, err := p.names.addresses(ctx, host, time.Time{}, limit)
	if err != nil {
		return nil, err
	}
	conn, err := c.try(addrs)
	if conn != nil || ctx.Err() != nil || time.Until(c.deadline) <= 0 {
		return conn, err
	}
	again, lerr := p.names.addresses(ctx, host, began, time.Until(c.deadline))
	again = slices.DeleteFunc(slices.Clone(again), func(a netip.Addr) bool { return slices.Contains(addrs, a) })
	if lerr != nil || len(again) == 0 {
		return nil, err
	}
	return c.try(again)
}

func splitTarget(t Target) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(t.Address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err
}

// call is an attempt to reach one host.
type call struct {
	ctx      context.Context
	port     uint16
	deadline time.Time
}

// try connects to the first address that takes the connection. Each has an
// equal part of the time that is left.
func (c *call) try(addrs []netip.Addr) (net.Conn, error) {
	var errs []error
	for i, a := range addrs {
		left := time.Until(c.deadline)
		if left <= 0 || c.ctx.Err() != nil {
			break
		}
		d := net.Dialer{Timeout: left / time.Duration(len(addrs)-i), KeepAlive: -1}
		conn, err := d.DialContext(c.ctx, "tcp", netip.AddrPortFrom(a, c.port).String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	switch len(errs) {
	case 0:
		return nil, context.DeadlineExceeded
	case 1:
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

package assemble

import (
	"golang.org/x/sys/unix"

	"sluice/cgi"
	"sluice/internal/poll"
)

// poller has the pipes of scripts in the set.
func (in *Inputs) poller() cgi.Poller {
	if in.Set == nil {
		return nil
	}
	return pipes{in.Set}
}

// pipes implements cgi.Poller by a set.
type pipes struct{ set *poll.Set }

func (p pipes) Output(fd int) (cgi.Output, error) {
	c, err := p.set.Pipe(fd)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p pipes) Notify(fd int, f func(more, ended bool)) (func(), error) {
	w, err := p.set.Edges(fd, unix.EPOLLIN, func(events uint32) {
		f(events&unix.EPOLLIN != 0, events&(unix.EPOLLHUP|unix.EPOLLERR) != 0)
	})
	if err != nil {
		return nil, err
	}
	return w.Forget, nil
}

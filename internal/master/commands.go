package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"sluice/internal/status"
)

// commands are those of the control socket. Each answers and closes the
// connection.
var commands = map[string]func(*Master, *call){
	"stop":    (*Master).stopCommand,
	"status":  answering((*Master).status),
	"restart": answering((*Master).restart),
	"reload":  answering((*Master).reload),
	"upgrade": (*Master).upgradeCommand,
}

// command carries out a command of the control socket.
func (m *Master) command(c *call) {
	run := commands[c.Name]
	if run == nil {
		run = answering(func(*Master, context.Context, Command) Result {
			return Result{Error: fmt.Sprintf("unknown command %q", c.Name)}
		})
	}
	run(m, c)
}

// answering is a command that is over with its answer. Its context ends when the
// client leaves.
func answering(f func(*Master, context.Context, Command) Result) func(*Master, *call) {
	return func(m *Master, c *call) {
		if !m.isOpen(c) {
			return
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		go func() {
			io.Copy(io.Discard, c.conn)
			cancel(errClientLeft)
		}()
		c.answer(f(m, ctx, c.Command))
	}
}

// isOpen answers a call that comes too early.
func (m *Master) isOpen(c *call) bool {
	select {
	case <-m.opened:
		return true
	default:
		c.answer(Result{Error: "the server is being started"})
		return false
	}
}

var errClientLeft = errors.New("who asked for it has left")

// stopCommand is answered when the server has stopped.
func (m *Master) stopCommand(c *call) {
	m.mu.Lock()
	m.waiting = append(m.waiting, c)
	m.mu.Unlock()
	if c.Now {
		m.ask(stopNow)
	} else {
		m.ask(stopTimely)
	}
}

// status is the answer to the command.
func (m *Master) status(context.Context, Command) Result {
	st, err := m.look()
	if err != nil {
		m.log.Error("the status is not complete", "err", err)
	}
	return Result{OK: true, Status: st}
}

// looks is how often the status is put together again because a generation has
// ended meanwhile.
const looks = 3

// look puts together what all generations do.
func (m *Master) look() (st *status.Status, err error) {
	for range looks {
		if st, err = m.lookOnce(); err == nil {
			break
		}
	}
	return st, err
}

func (m *Master) lookOnce() (*status.Status, error) {
	m.mu.Lock()
	all, current := slices.Clone(m.gens), m.current
	m.mu.Unlock()
	slices.Reverse(all) // the newest first
	i := slices.Index(all, current)
	all[0], all[i] = all[i], all[0]
	var sources []status.Sources
	for i, g := range all {
		s := g.sources()
		if i > 0 {
			s.Shared = func(app string) int { return g.sharesApp(app, all[:i]) }
		}
		sources = append(sources, s)
	}
	return status.Merge(sources)
}

// sharesApp is which of the other generations has the very same app, or -1.
func (g *generation) sharesApp(name string, others []*generation) int {
	return slices.IndexFunc(others, func(o *generation) bool { return o.apps[name] == g.apps[name] })
}

// reload is the command of that name. It is carried out also where the client does
// not wait for it.
func (m *Master) reload(context.Context, Command) Result {
	r, err := m.reloadLogged("command", false)
	if err != nil {
		return Result{Error: err.Error()}
	}
	return Result{OK: true, Text: r.text()}
}

// restart replaces the children of an app, one after the other.
func (m *Master) restart(ctx context.Context, c Command) Result {
	g := m.now()
	a := g.apps[c.App]
	if a == nil || a.sup == nil {
		return Result{Error: fmt.Sprintf("%q is not an app with children to restart: %s", c.App, g.lacksChildren(c.App))}
	}
	m.steady.RLock()
	m.restarts.Add(1)
	m.steady.RUnlock()
	defer m.restarts.Add(-1)
	m.log.Info("children are restarted one after the other", "app", c.App)
	n, err := a.sup.Restart(ctx)
	if err != nil {
		m.log.Error("restart failed", "app", c.App, "restarted", n, "err", err)
		return Result{Error: err.Error(), Restarted: n}
	}
	m.log.Info("children have been restarted", "app", c.App, "restarted", n)
	return Result{OK: true, Restarted: n}
}

// lacksChildren says why.
func (g *generation) lacksChildren(app string) string {
	for _, a := range g.cfg.Apps {
		switch {
		case a.Name != app:
		case len(a.Address) > 0:
			return "its programs run elsewhere"
		default:
			return "every request starts a script"
		}
	}
	return "there is no such app"
}

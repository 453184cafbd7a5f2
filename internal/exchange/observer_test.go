package exchange

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/scoreboard"
)

// witness is an Observer that writes down what it is told. Every request of a
// rig has one.
type witness struct {
	mu     sync.Mutex
	phases []scoreboard.Phase // each once where it comes again at once
	leases int                // in all
	held   int                // now
	pids   []int
	wrong  string
}

func (s *witness) Phase(p scoreboard.Phase, _ time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enter(p)
}

func (s *witness) enter(p scoreboard.Phase) {
	if n := len(s.phases); n == 0 || s.phases[n-1] != p {
		s.phases = append(s.phases, p)
	}
}

func (s *witness) Leased(slot, pid int, _ time.Time) scoreboard.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enter(scoreboard.Connect)
	s.leases++
	s.held++
	s.pids = append(s.pids, pid)
	return scoreboard.Record{}
}

func (s *witness) LetGo(now time.Time) { s.Phase(scoreboard.Send, now) }

func (s *witness) Released(scoreboard.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held--; s.held < 0 {
		s.wrong = "released more often than leased"
	}
}

func (s *witness) state() (phases string, leases, held int, wrong string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, p := range s.phases {
		names = append(names, p.String())
	}
	return strings.Join(names, " "), s.leases, s.held, s.wrong
}

// witnessed checks at the end of every test that each child was released as
// often as it was leased.
func (r *rig) witnessed() {
	r.mu.Lock()
	all := slices.Clone(r.seen)
	r.mu.Unlock()
	for _, s := range all {
		for limit := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			phases, leases, held, wrong := s.state()
			if held == 0 && wrong == "" {
				break
			}
			if wrong != "" || time.Now().After(limit) {
				r.t.Errorf("a request of phases %s was leased %d times and is held %d times: %s", phases, leases, held, wrong)
				break
			}
		}
	}
}

// What the observer is told of each way that an exchange can go.
func TestPhases(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 200_000)
	cases := []struct {
		name, method, body string
		stream             bool
		child              func(root string, c *call)
		phases             string
		leases             int
	}{
		{name: "small answer", child: func(_ string, c *call) { c.say("A: b\n\nsmall") }, phases: "queue connect header body send", leases: 1},
		{name: "with a body", method: "POST", body: "abc", child: func(_ string, c *call) { c.stdin(); c.say("A: b\n\nsmall") },
			phases: "upload queue connect header body send", leases: 1},
		{name: "large answer", child: func(_ string, c *call) { c.say("A: b\n\n" + big) }, phases: "queue connect header body send", leases: 1},
		{name: "HEAD", method: "HEAD", child: func(_ string, c *call) { c.say("A: b\n\nsmall") }, phases: "queue connect header body send", leases: 1},
		{name: "stream", stream: true, child: func(_ string, c *call) { c.out("A: b\n\none"); time.Sleep(50 * time.Millisecond); c.say("two") },
			phases: "queue connect header body send body send body send", leases: 1},
		{name: "file", child: func(root string, c *call) { c.say("X-Sendfile: " + root + "/small\n\n") }, phases: "queue connect header send", leases: 1},
		{name: "local redirect", child: func(_ string, c *call) { c.say("Location: /other\n\n") }, phases: "queue connect header send", leases: 1},
		{name: "bad header", child: func(_ string, c *call) { c.say("no header\n\n") }, phases: "queue connect header", leases: 1},
		{name: "repeated", child: func(_ string, c *call) {
			if c.try == 0 {
				c.die()
			} else {
				c.say("A: b\n\nsmall")
			}
		}, phases: "queue connect header queue connect header body send", leases: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var root string
			r := newRig(t, rigOptions{change: func(a *App) { root = withFiles(t, a) }})
			r.stream = c.stream
			r.script(func(call *call) { c.child(root, call) })
			if c.method == "" {
				c.method = "GET"
			}
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			r.do(c.method, "/x", body)
			r.free(5 * time.Second)
			phases, leases, held, _ := r.seen[0].state()
			if phases != c.phases || leases != c.leases || held != 0 {
				t.Errorf("phases %s, %d leases, %d held; want %s, %d leases", phases, leases, held, c.phases, c.leases)
			}
			if pid := r.seen[0].pids[0]; pid != 1000 && pid != 1001 {
				t.Errorf("leased process %d", pid)
			}
		})
	}
}

// A script that works on behind its answer is held until it has ended.
func TestPhasesOfScript(t *testing.T) {
	r := newScriptRig(t, nil)
	r.sh(shOK + "printf hello; exec >&-; sleep 0.3")
	if res := r.do("GET", "/x", nil); res.body != "hello" {
		t.Fatalf("%+v", res)
	}
	phases, leases, held, _ := r.seen[0].state()
	if phases != "queue connect header body send" || leases != 1 || held != 1 {
		t.Errorf("phases %s, %d leases, %d held", phases, leases, held)
	}
	r.nph = true
	r.sh(`printf 'HTTP/1.1 200 OK\r\n\r\n'; sleep 0.1; printf hello`)
	r.do("GET", "/x", nil)
	if phases, _, _, _ := r.seen[1].state(); phases != "queue connect header send body send body send" {
		t.Errorf("NPH: phases %s", phases)
	}
}

// A child that waits for a client which takes nothing is not one that computes.
func TestPhaseOfSlowedChild(t *testing.T) {
	r := newRig(t, rigOptions{change: func(a *App) { a.Response.Memory, a.Response.File = 1000, 0 }})
	r.script(func(c *call) {
		c.out("A: b\n\n")
		for range 1000 {
			if c.out(strings.Repeat("x", 32000)) != nil {
				return
			}
		}
		c.end()
	})
	nc := r.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	last := func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.seen) == 0 {
			return ""
		}
		phases, _, held, _ := r.seen[0].state()
		return fmt.Sprint(phases[strings.LastIndexByte(phases, ' ')+1:], held)
	}
	eventually(t, 5*time.Second, "the child waits for the client", func() bool {
		if last() != "send1" {
			return false
		}
		time.Sleep(100 * time.Millisecond) // it stays so
		return last() == "send1"
	})
	nc.Close()
	r.free(5 * time.Second)
}

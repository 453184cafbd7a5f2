package tune

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"sluice/internal/samples"
)

// Load is what the clients do.
type Load uint8

// The loads.
const (
	Connect   Load = iota // a connection for each request
	Keepalive             // one request after the other on a connection
	Early                 // an upload that is answered before its body has been read
	loads                 // how many there are
)

// upload is how large the body of an early answered request is: more than the
// kernel's buffers hold, so that its sender is still at it when the answer comes.
const upload = 8 << 20

// loadKinds say what each load is. The clients of Early carry much more.
var loadKinds = [loads]struct {
	name, title string
	clients     int
	visit       func(c *client, end time.Time) // one connection
}{
	Connect:   {"connect", "a connection for each request", 32, (*client).connect},
	Keepalive: {"keep-alive", "kept connections", 32, (*client).keepalive},
	Early:     {"early answer", "uploads that are answered before they are over", 8, (*client).early},
}

func (l Load) String() string { return loadKinds[l].name }

// Order is what a load generator is to do.
type Order struct {
	Address  string // host:port
	Path     string
	Load     Load
	Duration time.Duration
}

// Result is what the clients of a load have seen.
type Result struct {
	Elapsed             time.Duration
	Answers             int64 // whole ones
	Mean, P50, P99, Max time.Duration
	Failed              [failures]int64
}

// Failure is what becomes of a request that gets no whole answer.
type Failure uint8

// The failures.
const (
	refused    Failure = iota // no connection
	reset                     // the connection broke while the client was sending or reading
	short                     // it ended before the answer did
	unexpected                // another status
	timeout                   // nothing came
	failures                  // how many there are
)

var failureNames = [failures]string{"no connection", "reset", "cut short", "wrong status", "no answer"}

func (f Failure) String() string { return failureNames[f] }

// failed is how many requests have got no whole answer.
func (r *Result) failed() (sum int64) {
	for _, n := range r.Failed {
		sum += n
	}
	return sum
}

// Generate is the load generator: it reads an Order, carries it out, and writes
// its Result, both as JSON.
func Generate(in io.Reader, out io.Writer) error {
	var o Order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("load: read order: %w", err)
	}
	if o.Load >= loads || o.Duration <= 0 {
		return fmt.Errorf("load: no such order: %+v", o)
	}
	return json.NewEncoder(out).Encode(generate(o))
}

// generate has the clients work for the duration. Each asks once at least, and
// finishes its last request, for which it has answerWait.
func generate(o Order) Result {
	kind := loadKinds[o.Load]
	begin := time.Now()
	end := begin.Add(o.Duration)
	clients := make([]*client, kind.clients)
	done := make(chan struct{})
	for i := range clients {
		clients[i] = newClient(o, end.Add(answerWait))
		go func() {
			for kind.visit(clients[i], end); time.Now().Before(end); kind.visit(clients[i], end) {
			}
			done <- struct{}{}
		}()
	}
	for range clients {
		<-done
	}
	r := Result{Elapsed: time.Since(begin)}
	var took []time.Duration
	var sum time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
		for f, n := range c.failed {
			r.Failed[f] += n
		}
	}
	for _, d := range took {
		sum += d
	}
	if r.Answers = int64(len(took)); r.Answers > 0 {
		r.Mean = sum / time.Duration(r.Answers)
		r.P50, r.P99, r.Max = samples.Quantile(took, 0.5), samples.Quantile(took, 0.99), samples.Quantile(took, 1)
	}
	return r
}

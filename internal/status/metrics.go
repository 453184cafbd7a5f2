package status

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reads the scoreboard when Prometheus asks: nothing is counted twice,
// and nothing is counted for it alone.
type collector struct{ web Web }

// metric is a family of numbers.
type metric struct {
	kind prometheus.ValueType
	desc *prometheus.Desc
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.CounterValue, prometheus.NewDesc("sluice_"+name, help, labels, nil)}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.GaugeValue, prometheus.NewDesc("sluice_"+name, help, labels, nil)}
}

// The families. A worker is known by its pid, so that its counters begin anew
// with its successor.
var (
	mInfo       = gauge("build_info", "Always 1.", "version")
	mReady      = gauge("ready", "1 while the server should be given requests.")
	mStarted    = gauge("start_time_seconds", "When the server was started, in seconds since 1970.")
	mGeneration = gauge("generation", "Number of the generation that serves.")
	mMemory     = gauge("master_memory_bytes", "Resident memory of the master.")
	mGoroutines = gauge("master_goroutines", "Goroutines of the master.")

	mWorkers     = gauge("workers", "Workers by state.", "state")
	mRequests    = counter("worker_requests_total", "Requests that a worker has answered.", "worker", "generation")
	mConnections = gauge("worker_connections", "Connections of a worker by what they do.", "worker", "generation", "state")
	mWorkerMem   = gauge("worker_memory_bytes", "Resident memory of a worker.", "worker", "generation")
	mWorkerGo    = gauge("worker_goroutines", "Goroutines of a worker, a second old at most.", "worker", "generation")
	mAccepts     = counter("worker_accepts_total", "Connections that a worker has accepted.", "worker", "generation")
	mWakeups     = counter("worker_wakeups_total", "Wake-ups of the thread that accepts.", "worker", "generation")
	mEmpty       = counter("worker_empty_wakeups_total", "Wake-ups that found no connection.", "worker", "generation")
	mLockWait    = counter("worker_lock_wait_seconds_total", "Time that a worker has waited for the accept lock.", "worker", "generation")

	mWaiting  = gauge("app_queue_waiting", "Requests that wait for a child.", "app")
	mServed   = counter("app_requests_served_total", "Requests that got a child.", "app")
	mRefused  = counter("app_requests_refused_total", "Requests that got 503, since all children were busy or none was alive.", "app")
	mChildren = gauge("app_children", "Children, running scripts or addresses by state.", "app", "kind", "state")
	mClaims   = gauge("app_requests", "Requests that the children have now.", "app")
	mAppMem   = gauge("app_memory_bytes", "Resident memory of the children.", "app")
	mOldest   = gauge("app_oldest_request_seconds", "Age of the oldest request that a child has; 0 without [status] extended.", "app")
)

var families = []metric{mInfo, mReady, mStarted, mGeneration, mMemory, mGoroutines,
	mWorkers, mRequests, mConnections, mWorkerMem, mWorkerGo, mAccepts, mWakeups, mEmpty, mLockWait,
	mWaiting, mServed, mRefused, mChildren, mClaims, mAppMem, mOldest}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range families {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector. Where nothing is known nothing is said,
// which Prometheus shows as a failed scrape.
func (c collector) Collect(out chan<- prometheus.Metric) {
	st, err := c.web.Get()
	if st == nil {
		out <- prometheus.NewInvalidMetric(mInfo.desc, err)
		return
	}
	say := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	say(mInfo, 1, st.Version)
	ready := 0.
	if c.web.Ready() {
		ready = 1
	}
	say(mReady, ready)
	say(mStarted, float64(st.Started.UnixMilli())/1000)
	say(mGeneration, float64(st.Generation))
	say(mMemory, float64(st.Memory))
	say(mGoroutines, float64(st.Goroutines))
	workers(st.Workers, say)
	for i := range st.Apps {
		app(&st.Apps[i], say)
	}
}

func workers(all []Worker, say func(metric, float64, ...string)) {
	states := map[string]int{"running": 0}
	for _, w := range all {
		states[w.State]++
		if w.PID == 0 {
			continue // its place is empty for the moment
		}
		pid, generation := strconv.Itoa(w.PID), strconv.Itoa(w.Generation)
		say(mRequests, float64(w.Requests), pid, generation)
		for _, s := range byState(w.Connections) {
			say(mConnections, float64(s.Count), pid, generation, s.State)
		}
		say(mWorkerMem, float64(w.Memory), pid, generation)
		say(mWorkerGo, float64(w.Goroutines), pid, generation)
		say(mAccepts, float64(w.Accepts), pid, generation)
		say(mWakeups, float64(w.Wakeups), pid, generation)
		say(mEmpty, float64(w.Empty), pid, generation)
		say(mLockWait, w.LockWait, pid, generation)
	}
	for state, n := range states {
		say(mWorkers, float64(n), state)
	}
}

func app(a *App, say func(metric, float64, ...string)) {
	say(mWaiting, float64(a.Queue.Waiting), a.Name)
	say(mServed, float64(a.Queue.Served), a.Name)
	say(mRefused, float64(a.Queue.Refused), a.Name)
	states, claims, memory, oldest := map[string]int{}, 0, int64(0), 0.
	for _, c := range a.Children {
		states[c.State]++
		claims += c.Claims
		memory += c.MemoryBytes
		if c.Request != nil {
			oldest = max(oldest, c.Request.Seconds)
		}
	}
	for state, n := range states {
		say(mChildren, float64(n), a.Name, a.Kind, state)
	}
	say(mClaims, float64(claims), a.Name)
	say(mAppMem, float64(memory), a.Name)
	say(mOldest, oldest, a.Name)
}

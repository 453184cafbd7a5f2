package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Print writes the status for people: a line for the server, then tables.
func (s *Status) Print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "sluice %s  pid %d  generation %d  up %s\n\n", s.Version, s.PID, s.Generation, span(s.Uptime))
	t := table{left: "state"}
	t.row("worker", "state", "requests", "reading", "waiting", "working", "sending", "idle", "lingering")
	for _, w := range s.Workers {
		c := w.Connections
		t.row(w.PID, w.State, w.Requests, c.Reading, c.Waiting, c.Working, c.Sending, c.Idle, c.Lingering)
	}
	t.print(&b)
	for _, a := range s.Apps {
		fmt.Fprintf(&b, "\n%s (%s)  queue: %d waiting, %d served, %d refused\n", a.Name, a.Kind,
			a.Queue.Waiting, a.Queue.Served, a.Queue.Refused)
		childTable(a.Children).print(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func childTable(all []Child) *table {
	t := &table{left: "address state phase client request"}
	if len(all) == 0 {
		return t
	}
	head := []any{"pid", "state", "requests", "age", "memory"}
	if all[0].Address != "" {
		head = []any{"address", "state", "requests", "claims"}
	}
	t.row(append(head, "phase", "took", "client", "request")...)
	for _, c := range all {
		cells := []any{dash(strconv.Itoa(c.PID), c.PID == 0), c.State, c.Requests, dash(span(c.AgeSeconds), c.AgeSeconds == 0),
			dash(size(c.MemoryBytes), c.MemoryBytes == 0)}
		if c.Address != "" {
			cells = []any{c.Address, c.State, c.Requests, c.Claims}
		}
		t.row(append(cells, c.work()...)...)
	}
	return t
}

// table aligns columns: those whose head is in left to the left, others, which
// are numbers, to the right.
type table struct {
	left string
	rows [][]string
}

func (t *table) row(cells ...any) {
	var r []string
	for _, c := range cells {
		r = append(r, fmt.Sprint(c))
	}
	t.rows = append(t.rows, r)
}

func (t *table) print(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	width := make([]int, len(t.rows[0]))
	for _, r := range t.rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range t.rows {
		var line strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if strings.Contains(t.left, t.rows[0][i]) {
				line.WriteString("  " + c + pad)
			} else {
				line.WriteString("  " + pad + c)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// work is what a child does: the cells of phase, time, client and request.
func (c *Child) work() []any {
	r := c.Request
	if r == nil {
		return []any{"-", "-", "-", "-"}
	}
	text := r.Method + " " + r.URL
	if c.Claims > 1 {
		text += fmt.Sprintf("  and %d more", c.Claims-1)
	}
	return []any{r.Phase, dash(span(r.Seconds), r.Seconds == 0), r.Client, text}
}

func dash(text string, none bool) string {
	if none {
		return "-"
	}
	return text
}

// span is a time as people say it: two units at most.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size is a number of bytes as people say it.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

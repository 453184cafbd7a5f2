package tune

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// column is a number of every table, on the terminal and on the page.
type column struct {
	head    string
	explain string
	only    func(Load) bool // nil: under every load
	text    func(o *Outcome, load int) string
}

// columns are those behind the name of the setting.
var columns = []column{
	{"req/s", "whole answers a second", nil, number(0, rate)},
	{"±", "half of the distance between the least and the most of the rounds", nil, func(o *Outcome, load int) string {
		v := o.over(load, rate)
		return fmt.Sprintf("%.0f%%", 100*per((v.Most-v.Least)/2, v.Median))
	}},
	{"mean ms", "latency, to the end of the answer", nil, answered(number(2, mean))},
	{"p99 ms", "99th percentile of the latency", nil, answered(number(1, late))},
	{"max ms", "the longest of all rounds", nil, answered(func(o *Outcome, load int) string {
		return fmt.Sprintf("%.0f", o.over(load, latest).Most)
	})},
	{"CPU µs", "of the server, for a request", nil, number(1, cost)},
	{"uneven", "standard deviation of the workers' requests, as a part of their mean; 0 % is even", notEarly,
		func(o *Outcome, load int) string {
			if o.Setting.Workers == 1 {
				return "–"
			}
			return fmt.Sprintf("%.0f%%", 100*o.over(load, unevenly).Median)
		}},
	{"empty", "wake-ups of a worker that found no connection, for each connection", only(Connect), number(3, empty)},
	{"linger ms", "how long a connection lingered", only(Connect, Early), number(2, linger)},
	{"whole", "part of the requests that got a whole answer", only(Early), func(o *Outcome, load int) string {
		return fmt.Sprintf("%.1f%%", 100*o.whole(load).part())
	}},
	{"failed", "requests without a whole answer, in all rounds", nil, func(o *Outcome, load int) string { return fmt.Sprint(o.failed(load)) }},
}

func notEarly(l Load) bool { return l != Early }

func only(list ...Load) func(Load) bool {
	return func(l Load) bool { return slices.Contains(list, l) }
}

// number is the median of the rounds.
func number(digits int, m measure) func(*Outcome, int) string {
	return func(o *Outcome, load int) string { return fmt.Sprintf("%.*f", digits, o.over(load, m).Median) }
}

// answered is a text that says nothing where no request was answered.
func answered(text func(*Outcome, int) string) func(*Outcome, int) string {
	return func(o *Outcome, load int) string {
		if o.whole(load).hits == 0 {
			return "–"
		}
		return text(o, load)
	}
}

// table is a load of a study: the head, then a line for each setting that works.
func (st *Study) table(load int) (lines [][]string) {
	head := []string{"setting"}
	for _, c := range columns {
		if c.only == nil || c.only(st.Loads[load]) {
			head = append(head, c.head)
		}
	}
	lines = append(lines, head)
	for _, o := range st.Outcomes {
		if o.Failed != "" {
			continue
		}
		line := []string{o.Setting.String()}
		for _, c := range columns {
			if c.only == nil || c.only(st.Loads[load]) {
				line = append(line, c.text(o, load))
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Print writes the report for a terminal of 100 columns.
func (rep *Report) Print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "measured %s\n", rep.Began.Format(time.DateTime))
	for _, f := range rep.Facts {
		fmt.Fprintf(&b, "%-8s %s\n", f.Name, f.Value)
	}
	for _, st := range rep.Studies {
		for i, l := range st.Loads {
			if lines := st.table(i); len(lines) > 1 {
				fmt.Fprintf(&b, "\n%s, %s\n", st.Title, loadKinds[l].title)
				align(&b, lines)
			}
		}
		for _, f := range st.broken() {
			fmt.Fprintf(&b, "\n%s, do not work here: %s\n", st.Title, f.Reason)
			wrap(&b, f.Settings)
		}
	}
	for _, st := range rep.Studies {
		fmt.Fprintf(&b, "\n%s\n", st.Title)
		wrap(&b, st.Advice.Verdict)
		for _, r := range st.Advice.Reasons {
			wrap(&b, r)
		}
	}
	fmt.Fprintf(&b, "\n%s", rep.TOML())
	_, err := io.WriteString(out, b.String())
	return err
}

// TOML are the lines of the configuration file that the advice comes to.
func (rep *Report) TOML() string {
	var parts []string
	for _, st := range rep.Studies {
		parts = append(parts, st.Advice.Setting.TOML())
	}
	return strings.Join(parts, "\n")
}

// broken are settings that do not work here for the same reason.
type broken struct{ Reason, Settings string }

func (st *Study) broken() (list []broken) {
	at := map[string]int{}
	for _, o := range st.Outcomes {
		if o.Failed == "" {
			continue
		}
		i, ok := at[o.Failed]
		if !ok {
			at[o.Failed] = len(list)
			list = append(list, broken{o.Failed, o.Setting.String()})
			continue
		}
		list[i].Settings += "; " + o.Setting.String()
	}
	return list
}

// align writes lines with the first column to the left, the others to the right.
func align(b *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, l := range lines {
		for i, c := range l {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteByte('\n')
	}
}

// wrap writes a text in lines of at most 98 characters, each indented.
func wrap(b *strings.Builder, text string) {
	const indent, width = "  ", 98
	line := indent
	for _, w := range strings.Fields(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += w
	}
	b.WriteString(line + "\n")
}

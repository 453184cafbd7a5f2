package tune

import (
	"strconv"
	"time"

	"sluice/internal/samples"
)

// Report is what a run has found.
type Report struct {
	Began   time.Time
	Facts   []Fact
	Studies []*Study
}

// Fact is a line of what the run was like.
type Fact struct{ Name, Value string }

// Study is a question and its answer.
type Study struct {
	Title    string
	Loads    []Load
	Outcomes []*Outcome // the default first
	Advice   Advice
}

// Outcome is what became of a setting.
type Outcome struct {
	Setting Setting
	Failed  string     // why it does not work here; "": it does
	Rounds  [][]Sample // by round, then as the study's loads
}

// name is how a sentence calls the setting.
func (o *Outcome) name() string { return strconv.Quote(o.Setting.String()) }

// measure is a number of a Sample.
type measure func(*Sample) float64

// over is a measure of the rounds under the load with the index.
func (o *Outcome) over(load int, m measure) samples.Spread {
	var list []float64
	for i := range o.Rounds {
		list = append(list, m(&o.Rounds[i][load]))
	}
	return samples.SpreadOf(list)
}

// failed is how many requests under the load got no whole answer, in all rounds.
func (o *Outcome) failed(load int) (sum int64) {
	for _, r := range o.Rounds {
		sum += r[load].failed()
	}
	return sum
}

// whole is how many of the requests under the load got a whole answer.
func (o *Outcome) whole(load int) (s share) {
	for _, r := range o.Rounds {
		s.hits += r[load].Answers
		s.tries += r[load].Answers + r[load].failed()
	}
	return s
}

func ms(d func(*Sample) time.Duration) measure {
	return func(s *Sample) float64 { return float64(d(s)) / float64(time.Millisecond) }
}

// The measures that tables and figures show.
var (
	rate     measure = (*Sample).rate
	cost     measure = (*Sample).cost
	empty    measure = (*Sample).empty
	linger   measure = (*Sample).linger
	unevenly measure = func(s *Sample) float64 { return s.Uneven }
	mean             = ms(func(s *Sample) time.Duration { return s.Mean })
	median           = ms(func(s *Sample) time.Duration { return s.P50 })
	late             = ms(func(s *Sample) time.Duration { return s.P99 })
	latest           = ms(func(s *Sample) time.Duration { return s.Max })
)

package procs

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestGauge(t *testing.T) {
	for name, c := range map[string]struct {
		used []float64 // each for ten periods; a negative one: and programs are started
		want []int     // behind them
		idle float64
	}{
		"idle":                  {[]float64{0, 0.1, 0}, []int{1, 1, 1}, 1},
		"one is enough":         {[]float64{0.5, 0.8, 0.84}, []int{1, 1, 1}, 1},
		"one is not":            {[]float64{0.95}, []int{2}, 1},
		"up to all, no further": {[]float64{0.95, 1.9, 2.9, 3.9}, []int{2, 3, 4, 4}, 1},
		"down, but not at once": {[]float64{0.95, 0.5, 0.5, 0.5, 0.5}, []int{2, 2, 2, 1, 1}, 1},
		"starts need another":   {[]float64{-0.3, -0.3, -0.1, -0.1, -0.1, 0, 0, 0, 0}, []int{2, 2, 2, 2, 2, 2, 2, 1, 1}, 1},
		"but no third":          {[]float64{-0.3, -1, -1, -1.6}, []int{2, 2, 2, 2}, 1},
		"nor keep one":          {[]float64{1, 1.9, -0.3, -0.3, -0.3, -0.3}, []int{2, 3, 3, 3, 2, 2}, 1},
		"in between it stays":   {[]float64{0.95, 1, 1, 1, 1, 1}, []int{2, 2, 2, 2, 2, 2}, 1},
		"nothing is left":       {[]float64{0.95, 0.95, 0.95}, []int{1, 1, 1}, 0.1},
		"starts do not ask":     {[]float64{-0.3, -0.3}, []int{2, 2}, 0},
	} {
		g := gauge{procs: 1, most: 4}
		var got []int
		for _, u := range c.used {
			for range 10 {
				starting := 0.0
				if u < 0 {
					starting = 0.3
				}
				g.see(sample{max(u, -u), starting, func() float64 { return c.idle }})
			}
			got = append(got, g.procs)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMachineIdle(t *testing.T) {
	var m machine
	if n := m.idle(); n != 0 {
		t.Errorf("%v at the first look", n)
	}
	time.Sleep(period)
	if n := m.idle(); n < 0 || n > 2*float64(runtime.NumCPU()) {
		t.Errorf("%v CPUs of %d", n, runtime.NumCPU())
	}
}

// idle is a process that starts nothing.
func idle() time.Duration { return 0 }

// One that computes gets the CPUs that it had before; at the end all are back.
func TestAdapt(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { Adapt(stop, idle); close(ended) }()
	wait := func(n int) {
		for limit := time.Now().Add(20 * time.Second); runtime.GOMAXPROCS(0) != n; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("GOMAXPROCS does not become %d", n)
			}
		}
	}
	wait(1)
	close(stop)
	<-ended
	wait(2)

	t.Setenv("GOMAXPROCS", "2")
	stop, ended = make(chan struct{}), make(chan struct{})
	go func() { Adapt(stop, idle); close(ended) }()
	for range 50 {
		time.Sleep(time.Millisecond)
		if n := runtime.GOMAXPROCS(0); n != 2 {
			t.Fatalf("GOMAXPROCS becomes %d although the environment says 2", n)
		}
	}
	close(stop)
	<-ended
}

func TestCalmness(t *testing.T) {
	for name, c := range map[string]struct {
		used []float64 // each for ten periods; a negative one: and programs are started
		want int       // how often it is time
	}{
		"nothing was done":        {[]float64{0, 0.01, 0, 0, 0}, 0},
		"work, and then nothing":  {[]float64{0.5, 0, 0, 0, 0, 0}, 1},
		"it goes on and on":       {[]float64{0.5, 0.1, 0.5, 0.1, 0.5}, 0},
		"a little goes on":        {[]float64{0.5, 0.03, 0.03, 0.03, 0.03}, 0},
		"pauses that are short":   {[]float64{0.5, 0, 0.5, 0, 0.5, 0}, 0},
		"twice":                   {[]float64{0.5, 0, 0, 0.5, 0, 0, 0, 0}, 2},
		"a little, then nothing":  {[]float64{0.03, 0, 0, 0}, 0},
		"one burst, a long while": {[]float64{0.5, 0, 0, 0, 0, 0, 0, 0, 0}, 1},
	} {
		var k calmness
		n := 0
		for _, u := range c.used {
			for range 10 {
				if k.see(u) {
					n++
				}
			}
		}
		if n != c.want {
			t.Errorf("%s: %d times, want %d", name, n, c.want)
		}
	}
}

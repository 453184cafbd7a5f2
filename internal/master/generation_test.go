package master

import (
	"errors"
	"testing"

	"sluice/internal/config"
	"sluice/spawner"
)

// Places are those of the workers that there are: one that has ended has given its
// own back, whoever of its generation is still there, and nobody else's later.
func TestPlaces(t *testing.T) {
	m := newMaster(Options{})
	enter := func(workers int) (*generation, error) {
		g := m.newGeneration(&config.Config{Workers: workers}, 1)
		return g, m.enter(g)
	}
	taken := func() (n int) {
		for _, is := range m.places {
			if is {
				n++
			}
		}
		return n
	}
	first, err := enter(200)
	must(t, err)
	if _, err := enter(100); !errors.Is(err, errPlaces) || taken() != 200 {
		t.Errorf("300 of %d: %v", spawner.Places-1, err)
	}
	for i := range 150 {
		m.giveBack(&workerProcess{gen: first, index: i + 1, place: first.places[i]})
	}
	second, err := enter(200)
	must(t, err)
	if n := taken(); n != 250 {
		t.Errorf("%d places are taken", n)
	}
	late := &workerProcess{gen: first, index: 200, place: first.places[199]}
	m.end(first)
	if n := taken(); n != 200 {
		t.Errorf("%d places are taken, of 200", n)
	}
	m.giveBack(late) // whose generation has ended by now
	m.end(second)
	if n := taken(); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

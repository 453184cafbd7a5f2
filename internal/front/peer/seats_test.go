package peer

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

func newSeats(o SeatsOptions) (mem []byte, all []*Seats) {
	mem = make([]byte, o.Size())
	CreateSeats(o, mem)
	for p := range o.Places {
		all = append(all, OpenSeats(o, mem, p+1))
	}
	return mem, all
}

func v4(n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(n))
	return netip.AddrFrom4(b)
}

func TestSeats(t *testing.T) {
	for _, most := range []int{1, 2, 7, 100} {
		o := SeatsOptions{Most: most, Connections: 200, Places: 2}
		_, s := newSeats(o)
		var taken []Seat
		for i := range most {
			seat, ok := s[i%2].Take(v4(1))
			if !ok {
				t.Fatalf("%d of %d is refused", i+1, most)
			}
			taken = append(taken, seat)
		}
		for _, p := range s {
			if _, ok := p.Take(v4(1)); ok {
				t.Fatalf("one more than %d", most)
			}
		}
		other, ok := s[0].Take(v4(2))
		if !ok {
			t.Error("another address is refused")
		}
		other.Leave()
		taken[most/2].Leave()
		if taken[most/2], ok = s[1].Take(v4(1)); !ok {
			t.Error("refused although one has left")
		}
		for _, seat := range taken {
			seat.Leave()
		}
		if !empty(s[0]) {
			t.Error("something is left")
		}
	}
}

func empty(s *Seats) bool {
	for i := range s.buckets {
		for j := range s.buckets[i] {
			if s.buckets[i][j].Load() != 0 {
				return false
			}
		}
	}
	return true
}

func TestSeatsUncounted(t *testing.T) {
	var none *Seats
	none.ClearPlace(1)
	for range 3 {
		seat, ok := none.Take(v4(1))
		if !ok {
			t.Error("refused without a bound")
		}
		seat.Leave()
	}
	_, s := newSeats(SeatsOptions{Most: 1, Connections: 10, Places: 1})
	for range 3 {
		if _, ok := s[0].Take(netip.Addr{}); !ok {
			t.Error("a client without an address is refused")
		}
	}
}

func TestSeatsOfDead(t *testing.T) {
	o := SeatsOptions{Most: 4, Connections: 100, Places: 64}
	mem, s := newSeats(o)
	var left []Seat
	for _, place := range []int{1, 64, 64, 3} {
		seat, ok := s[place-1].Take(v4(1))
		if !ok {
			t.Fatal("refused")
		}
		if place != 64 {
			left = append(left, seat)
		}
	}
	master := OpenSeats(o, mem, 0)
	master.ClearPlace(64)
	for i := range 3 {
		if _, ok := s[10].Take(v4(1)); ok != (i < 2) {
			t.Errorf("%d: %v, after the death of one with two", i, ok)
		}
	}
	for _, seat := range left {
		seat.Leave()
	}
	master.ClearPlace(11)
	if !empty(master) {
		t.Error("something is left")
	}
}

// As many addresses as there may be connections, each with all its seats: nobody
// is left without a word.
func TestSeatsFull(t *testing.T) {
	for _, o := range []SeatsOptions{{1, 10000, 1}, {3, 3000, 4}, {50, 10000, 1}, {300, 3000, 1}, {2000, 1000, 1}, {5, 1, 1}} {
		_, s := newSeats(o)
		all := o.Connections * o.Places
		for i := range all {
			if _, ok := s[i%o.Places].Take(v4(i / o.Most)); !ok {
				t.Fatalf("%+v: %d of %d is refused", o, i, all)
			}
		}
	}
}

func TestClient(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1", "fe80::2", false},
		{"fe80::1%lo", "fe80::1", true},
		{"fd00::1", "fd00::2", false},
		{"::1", "::1", true},
		{"::1", "::2", false},
		{"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
	} {
		if same := client(netip.MustParseAddr(c.a)) == client(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, same)
		}
	}
}

// Never more than the bound, whoever takes and leaves at the same time; and the
// last seat is never left free by all of those who want it.
func TestSeatsTogether(t *testing.T) {
	const most, places = 3, 4
	o := SeatsOptions{Most: most, Connections: 100, Places: places}
	_, s := newSeats(o)
	var have, worst atomic.Int64
	var all sync.WaitGroup
	for p := range places {
		for range 2 {
			all.Go(func() {
				for range 3000 {
					seat, ok := s[p].Take(v4(1))
					if !ok {
						continue
					}
					if n := have.Add(1); n > worst.Load() {
						worst.Store(n)
					}
					if rand.IntN(8) == 0 {
						spin()
					}
					have.Add(-1)
					seat.Leave()
				}
			})
		}
	}
	all.Wait()
	if worst.Load() > most {
		t.Errorf("%d at once, the bound is %d", worst.Load(), most)
	}
	if !empty(s[0]) {
		t.Fatal("something is left")
	}
	for range 500 {
		var got atomic.Int64
		var seats [8]Seat
		begin := make(chan struct{})
		for i := range seats {
			all.Go(func() {
				<-begin
				var ok bool
				if seats[i], ok = s[i%places].Take(v4(1)); ok {
					got.Add(1)
				}
			})
		}
		close(begin)
		all.Wait()
		if got.Load() != most {
			t.Fatalf("%d of %d got a seat, the bound is %d", got.Load(), len(seats), most)
		}
		for _, seat := range seats {
			seat.Leave()
		}
	}
}

func spin() {
	for range 1000 {
		rand.Uint64()
	}
}

func BenchmarkSeats(b *testing.B) {
	for _, most := range []int{10, 100, 1000} {
		_, s := newSeats(SeatsOptions{Most: most, Connections: 10000, Places: 1})
		b.Run(v4(most).String(), func(b *testing.B) {
			for i := range b.N {
				seat, _ := s[0].Take(v4(i % 1000))
				seat.Leave()
			}
		})
	}
}

// A connection that another process takes over keeps its seat.
func TestSeatsAdopt(t *testing.T) {
	o := SeatsOptions{Most: 2, Connections: 50, Places: 2}
	mem := make([]byte, o.Size())
	master := CreateSeats(o, mem)
	old, fresh := OpenSeats(o, mem, 200), OpenSeats(o, mem, 255)
	seat, ok := old.Take(v4(1))
	other, ok2 := old.Take(v4(1))
	if !ok || !ok2 {
		t.Fatal("refused")
	}
	mine := fresh.Adopt(v4(1), old.Number(seat), 200)
	if _, ok := fresh.Take(v4(1)); ok {
		t.Error("a third one")
	}
	seat.Leave() // it is not old's any more
	if _, ok := fresh.Take(v4(1)); ok {
		t.Error("a third one, where one that had been adopted was left")
	}
	master.ClearPlace(200)
	again, ok := fresh.Take(v4(1))
	if !ok {
		t.Error("refused where the other has gone")
	}
	other.Leave()
	mine.Leave()
	again.Leave()
	if !empty(master) {
		t.Error("something is left")
	}
	// The numbers of other memory, and of no seat.
	for _, n := range []int{-1, 0, 1 << 30, old.Number(other)} {
		fresh.Adopt(v4(1), n, 200).Leave()
		if !empty(master) {
			t.Errorf("something is left behind %d", n)
		}
	}
	if n := old.Number(Seat{}); n != -1 {
		t.Error(n)
	}
	var none *Seats
	none.Adopt(v4(1), 3, 1).Leave()
}

package peer

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"
)

// Seats bounds the connections of one address over all the processes that share
// its memory. The nil Seats has no bound.
//
// The memory is a table with a word for each connection: which address it is of,
// and which process has it. A word is taken and given back in one step, so a
// process that is killed leaves nothing but words of its own, which ClearPlace
// takes back. Where the connections of an address may stand follows from the
// address, and all of these words are looked at to count them: who takes one
// counts again, and gives it back where it was one too many. So there are never
// more than the bound, and of several that come for the last seat at the same
// time one gets it.
type Seats struct {
	most    int
	place   uint64
	key     [2]uint64 // so that no client can choose where its connections stand
	buckets []bucket  // a power of two
	span    int       // buckets in which an address may have words
}

// bucket is a line of the cache.
type bucket [8]atomic.Uint64

// SeatsOptions say how large the table is; all who share it have the same.
type SeatsOptions struct {
	Most        int // connections of an address, at least 1
	Connections int // of all addresses in one process
	Places      int // processes that have all their Connections, at most 64; places go up to 255
}

// maxBuckets bounds the memory, to 32 MiB: room for two million connections.
const maxBuckets = 1 << 19

// layout: a quarter of the words is in use at the most, and of those that an
// address may have at least half, where it has all its connections. So chance
// does not leave one without a word.
func (o SeatsOptions) layout() (buckets, span int) {
	all := o.Connections * o.Places
	span = (2*min(o.Most, all) + 32 + 7) / 8
	buckets = 1 << bits.Len(uint(max(span, all/2)))
	if buckets > maxBuckets {
		return maxBuckets, min(span, maxBuckets)
	}
	return buckets, span
}

// Size is how many bytes of memory Seats need.
func (o SeatsOptions) Size() int {
	n, _ := o.layout()
	return (n + 1) * int(unsafe.Sizeof(bucket{}))
}

// CreateSeats formats the memory, which has Size bytes and is all zero.
func CreateSeats(o SeatsOptions, mem []byte) *Seats {
	head := bucketsOf(mem)[0][:]
	for i := range 2 {
		head[i].Store(rand.Uint64())
	}
	return OpenSeats(o, mem, 0)
}

// OpenSeats is for a process at a place, which count from 1. It keeps the memory.
func OpenSeats(o SeatsOptions, mem []byte, place int) *Seats {
	all := bucketsOf(mem)
	n, span := o.layout()
	return &Seats{most: o.Most, place: placeBits(place), key: [2]uint64{all[0][0].Load(), all[0][1].Load()},
		buckets: all[1 : 1+n], span: span}
}

func bucketsOf(mem []byte) []bucket {
	size := int(unsafe.Sizeof(bucket{}))
	return unsafe.Slice((*bucket)(unsafe.Pointer(&mem[0])), len(mem)/size)
}

// placeMask is the part of a word that says whose it is.
const placeMask = 255

func placeBits(place int) uint64 { return uint64(place-1) & placeMask }

// Seat is one connection's. The zero Seat is of one that is not counted.
type Seat struct {
	word  *atomic.Uint64
	value uint64
}

// Place is that of this process; 0: none.
func (s *Seats) Place() int {
	if s == nil {
		return 0
	}
	return int(s.place) + 1
}

// Number tells a seat to another process, which Adopts it; -1: there is none.
func (s *Seats) Number(t Seat) int {
	if s == nil || t.word == nil {
		return -1
	}
	at := uintptr(unsafe.Pointer(t.word)) - uintptr(unsafe.Pointer(&s.buckets[0]))
	return int(at / unsafe.Sizeof(*t.word))
}

// Adopt takes over the seat of a Number from the process of another place, with
// the connection that it is of. Where that process was given other memory, or the
// seat is not there, a new one is taken; and where there is none the connection
// is not counted: it is there already.
func (s *Seats) Adopt(a netip.Addr, number, from int) Seat {
	if s == nil || !a.IsValid() {
		return Seat{}
	}
	if number >= 0 && number < len(s.buckets)*len(bucket{}) {
		word := &s.buckets[number/len(bucket{})][number%len(bucket{})]
		tag := s.tag(a)
		if word.CompareAndSwap(tag|placeBits(from), tag|s.place) {
			return Seat{word, tag | s.place}
		}
	}
	seat, _ := s.Take(a)
	return seat
}

// Leave gives the seat back. It must be called once, and does nothing for one that
// another process has adopted.
func (s Seat) Leave() {
	if s.word != nil {
		s.word.CompareAndSwap(s.value, 0)
	}
}

// seatTries bounds how often the last seat is tried for, while others do.
const seatTries = 64

// Take takes a seat for a connection of the address; false: it has them all. The
// zero Addr, of a client without one, is not counted.
func (s *Seats) Take(a netip.Addr) (Seat, bool) {
	if s == nil || !a.IsValid() {
		return Seat{}, true
	}
	tag := s.tag(a)
	value := tag | s.place
	for try := range seatTries {
		n, free := s.look(tag)
		if n >= s.most || free == nil {
			return Seat{}, false
		}
		if !free.CompareAndSwap(0, value) {
			continue
		}
		if n, _ = s.look(tag); n <= s.most {
			return Seat{free, value}, true
		}
		free.Store(0)
		time.Sleep(rand.N(time.Microsecond << min(try, 8)))
	}
	return Seat{}, false
}

// look counts the words with the tag, and finds the first that is free.
func (s *Seats) look(tag uint64) (n int, free *atomic.Uint64) {
	hi, lo := bits.Mul64(tag, s.key[1]|1)
	at, step := lo^hi, hi|1
	mask := uint64(len(s.buckets) - 1)
	for range s.span {
		b := &s.buckets[at&mask]
		at += step
		for i := range b {
			switch v := b[i].Load(); {
			case v == 0:
				if free == nil {
					free = &b[i]
				}
			case v&^placeMask == tag:
				n++
			}
		}
	}
	return n, free
}

// tag stands for an address: 55 bits of a keyed hash, and never 0. That two have
// the same is less likely than an error of the memory.
func (s *Seats) tag(a netip.Addr) uint64 {
	b := client(a)
	hi, lo := bits.Mul64(binary.BigEndian.Uint64(b[:8])^s.key[0], binary.BigEndian.Uint64(b[8:])^s.key[1])
	hi, lo = bits.Mul64(hi^lo^s.key[1], s.key[0]|1)
	return (hi^lo)&^placeMask | 1<<63
}

// nat64 is the well-known prefix of IPv4 addresses in IPv6 (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// client is what counts as one address. A client of the Internet that has IPv6
// has a whole /64 and may use a new address for each connection (RFC 8981), so
// it is that; in a private network, where a /64 is all of its hosts, and of IPv4
// it is the address.
func client(a netip.Addr) [16]byte {
	a = a.Unmap()
	b := a.As16()
	if a.Is4() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback() || nat64.Contains(a.WithZone("")) {
		return b
	}
	clear(b[8:])
	return b
}

// ClearPlace takes back the seats of a process that has ended.
func (s *Seats) ClearPlace(place int) {
	if s == nil {
		return
	}
	for i := range s.buckets {
		for j := range s.buckets[i] {
			w := &s.buckets[i][j]
			if v := w.Load(); v != 0 && v&placeMask == placeBits(place) {
				w.CompareAndSwap(v, 0)
			}
		}
	}
}

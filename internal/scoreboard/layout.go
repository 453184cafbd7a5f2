package scoreboard

import (
	"errors"
	"fmt"
)

// Layout is how the memory is divided.
type Layout struct {
	Places int // of workers, 1 to MaxPlaces
	Apps   []AppLayout
	Times  bool // requests have the times at which they began
}

// AppLayout is the part of one app.
type AppLayout struct {
	Name, Kind string   // at most 64 and 24 bytes
	Slots      int      // children that are supervised, or addresses
	Addresses  []string // of the slots, for programs elsewhere; at most 128 bytes each
	Requests   int      // at once, of one worker; more have no record
}

// Bounds of a Layout.
const (
	MaxPlaces = 64
	maxApps   = 1 << 12
	maxOfApp  = 1 << 20 // slots, and records
	maxWords  = 1 << 31
)

const (
	magic         = 0x62736563_69756c73 // "sluicesb"
	layoutVersion = 1

	headWords   = 16
	appWords    = 16
	placeWords  = 16
	slotWords   = 24
	recordWords = 32
)

// LayoutVersion is that of what is in the memory, and of an OwnerState.
const LayoutVersion = layoutVersion

// slotFinishing is a bit beside the state of a slot.
const slotFinishing = 1 << 8

// Offsets of words.
const (
	hMagic, hLayout, hWords, hPlaces, hApps, hTimes          = 0, 1, 2, 3, 4, 5
	hPID, hGeneration, hStarted, hSeen, hEnded, hVersion     = 6, 7, 8, 9, 10, 11
	aSlots, aRecords, aWaiting, aServed, aRefused            = 0, 1, 2, 3, 4
	aKind, aName                                             = 5, 8
	pAccepts, pWakeups, pEmpty, pLockWait                    = 11, 12, 13, 14
	pPID, pGeneration, pState, pRequests, pConns, pRoutines  = 0, 1, 2, 3, 4, 10
	sState, sPID, sBegan, sRequests, sMemory, sRestarts, sAt = 0, 1, 2, 3, 4, 5, 8
	rSeq, rPhase, rSlot, rPID, rBegan, rLeased               = 0, 1, 2, 3, 4, 5
	rMethod, rClient, rURL                                   = 6, 8, 16
)

// Bytes is how much memory a Layout needs.
func (l Layout) Bytes() int { return 8 * l.words() }

func (l Layout) words() int {
	n := headWords + placeWords*l.Places
	for _, a := range l.Apps {
		n += appWords + slotWords*a.Slots + recordWords*a.Requests*l.Places
	}
	return n
}

func (l Layout) check() error {
	if l.Places < 1 || l.Places > MaxPlaces || len(l.Apps) > maxApps {
		return fmt.Errorf("%d places and %d apps", l.Places, len(l.Apps))
	}
	for _, a := range l.Apps {
		switch {
		case a.Slots < 0 || a.Slots > maxOfApp || a.Requests < 0 || a.Requests > maxOfApp:
			return fmt.Errorf("an app of %d slots and %d requests", a.Slots, a.Requests)
		case a.Addresses != nil && len(a.Addresses) != a.Slots:
			return fmt.Errorf("%d addresses for %d slots", len(a.Addresses), a.Slots)
		}
	}
	if l.words() > maxWords {
		return errors.New("too large")
	}
	return nil
}

// board is the memory and how it is divided, which is not looked up again.
type board struct {
	mem    words
	layout Layout
	slots  []int // where the slots of each app begin
	record []int // where the first place's records of each app begin
}

func newBoard(mem words, l Layout) *board {
	b := &board{mem: mem, layout: l}
	at := headWords + appWords*len(l.Apps) + placeWords*l.Places
	for _, a := range l.Apps {
		b.slots = append(b.slots, at)
		at += slotWords * a.Slots
	}
	for _, a := range l.Apps {
		b.record = append(b.record, at)
		at += recordWords * a.Requests * l.Places
	}
	return b
}

func (b *board) part(at, n int) words { return b.mem[at : at+n : at+n] }

func (b *board) head() words { return b.part(0, headWords) }

func (b *board) app(app int) words { return b.part(headWords+appWords*app, appWords) }

// place is the part of a place, which count from 0 here.
func (b *board) place(place int) words {
	return b.part(headWords+appWords*len(b.layout.Apps)+placeWords*place, placeWords)
}

func (b *board) slot(app, slot int) words { return b.part(b.slots[app]+slotWords*slot, slotWords) }

func (b *board) recordOf(place, app, i int) words {
	return b.part(b.record[app]+recordWords*(place*b.layout.Apps[app].Requests+i), recordWords)
}

// Board is a scoreboard that somebody else has formatted.
type Board struct{ *board }

// Open checks how the memory is divided, and finds fault with anything that
// cannot be. It keeps the memory.
func Open(mem []byte) (*Board, error) {
	w, err := wordsOf(mem)
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	var l Layout
	if ferr := safely(func() { l, err = readLayout(w) }); ferr != nil {
		return nil, ferr
	}
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	return &Board{newBoard(w, l)}, nil
}

func readLayout(w words) (l Layout, err error) {
	if len(w) < headWords || w[hMagic].Load() != magic {
		return l, errors.New("not a scoreboard")
	}
	if v := w[hLayout].Load(); v != layoutVersion {
		return l, fmt.Errorf("layout of version %d, want %d", v, layoutVersion)
	}
	apps := w[hApps].Load()
	if apps > maxApps || headWords+appWords*int(apps) > len(w) {
		return l, fmt.Errorf("%d apps", apps)
	}
	l.Places, l.Times = bounded(w[hPlaces].Load(), MaxPlaces), w[hTimes].Load() != 0
	for i := range int(apps) {
		a := w[headWords+appWords*i:][:appWords]
		l.Apps = append(l.Apps, AppLayout{Name: a[aName:].text(), Kind: a[aKind:aName].text(),
			Slots: bounded(a[aSlots].Load(), maxOfApp), Requests: bounded(a[aRecords].Load(), maxOfApp)})
	}
	if err := l.check(); err != nil {
		return l, err
	}
	if n := l.words(); uint64(n) != w[hWords].Load() || n > len(w) {
		return l, fmt.Errorf("%d bytes, want %d", 8*len(w), 8*n)
	}
	return l, nil
}

// bounded is v, or -1 where it is more than most.
func bounded(v uint64, most int) int {
	if v > uint64(most) {
		return -1
	}
	return int(v)
}

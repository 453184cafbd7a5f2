package spawner

import "sync"

// set writes down what a slot is now, and tells the Ledger, then the pools.
func (k *keeper) set(st State, c *Child) {
	k.s.moving.RLock()
	defer k.s.moving.RUnlock()
	k.put(st, c)
}

// put is set for who keeps the children from being held.
func (k *keeper) put(st State, c *Child) {
	s := k.s
	s.mu.Lock()
	k.state, k.child = st, c
	switch st {
	case Starting:
		k.wanted, k.coming = false, false
	case BackingOff:
		k.wanted, k.leave = false, leave{}
	case Dormant:
		k.leave = leave{}
	}
	k.publish(s.down())
	s.publishDormant()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.outbox.flush()
	s.look()
}

// down reports whether the app is in back-off: no child is alive, and none will
// be started by demand.
func (s *Supervisor) down() bool {
	waits := false
	for _, k := range s.slots {
		switch k.state {
		case Starting, Ready, Retiring, Stopping:
			return false
		case BackingOff:
			waits = true
		}
	}
	return waits
}

// publishDormant tells what the slots without a process are: while the app is in
// back-off nothing can be hoped from them either.
func (s *Supervisor) publishDormant() {
	down := s.down()
	for _, k := range s.slots {
		if k.state == Dormant {
			k.publish(down)
		}
	}
}

func (k *keeper) publish(down bool) {
	e := Event{App: k.s.opt().App, Slot: k.slot, State: k.state}
	if e.State == Dormant && down {
		e.State = BackingOff
	}
	if k.child != nil {
		e.PID, e.Began = k.pid, k.began.UnixNano()
	}
	if e == k.told {
		return
	}
	k.told = e
	if k.s.opt().Ledger != nil {
		k.s.opt().Ledger.Set(e.Slot, e.State, e.PID)
	}
	k.s.outbox.put(e)
}

// outbox keeps Events in order, and sends them when the table is not locked:
// who gets them may want to read it.
type outbox struct {
	send    func(Event)
	sending sync.Mutex
	mu      sync.Mutex
	events  []Event
}

func (o *outbox) put(e Event) {
	o.mu.Lock()
	o.events = append(o.events, e)
	o.mu.Unlock()
}

func (o *outbox) flush() {
	o.sending.Lock()
	defer o.sending.Unlock()
	o.mu.Lock()
	events := o.events
	o.events = nil
	o.mu.Unlock()
	for _, e := range events {
		o.send(e)
	}
}

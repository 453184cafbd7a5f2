package spawner

// Grow makes the supervisor ready for so many children, as far as that may fail:
// it binds their sockets. That by itself changes nothing.
func (s *Supervisor) Grow(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.opt()
	for i := len(s.slots); i < n; i++ {
		k := &keeper{s: s, slot: i, poke: make(chan struct{}, 1)}
		k.told = Event{App: o.App, Slot: i}
		if o.Listen == nil {
			var err error
			if k.socket, err = bindPrivate(SocketPath(o.SocketDir, o.Sockets, i), o.SocketGID, o.Connections); err != nil {
				return err
			}
		}
		s.slots = append(s.slots, k)
	}
	return nil
}

// Retune changes what no child has to be restarted for: how many there are, when
// one is retired, and how it is started and stopped. Of o everything else stays as
// it was. A child that is one too many gets no more requests and ends when it is
// idle. The supervisor has been started, and Grow has been called for o.Max; the
// Ledger has to be retuned before, and has room for as many.
func (s *Supervisor) Retune(o SupervisorOptions) {
	s.mu.Lock()
	n := *s.opt()
	n.Scale, n.Min, n.Max, n.Spare, n.IdleTimeout = o.Scale, o.Min, o.Max, o.Spare, o.IdleTimeout
	n.MaxRequests, n.MaxAge, n.MaxMemory = o.MaxRequests, o.MaxAge, o.MaxMemory
	n.StartTimeout, n.StopSignal, n.StopGrace, n.Stderr = o.StartTimeout, o.StopSignal, o.StopGrace, o.Stderr
	n.normalize()
	n.Max = min(n.Max, len(s.slots))
	s.options.Store(&n)
	s.ramp.first = n.Scale.firstStep()
	for _, k := range s.slots {
		if k.slot < n.Min && k.child == nil && k.state != BackingOff {
			k.wanted = true
		}
		if k.slot < n.Max && !k.runs && !s.stopping() {
			k.runs = true
			s.wg.Go(func() { k.run(nil) })
		}
		k.wake()
	}
	s.mu.Unlock()
	s.look()
}

// allowed reports whether the slot is one of the children that there may be.
func (k *keeper) allowed() bool { return k.slot < k.s.opt().Max }

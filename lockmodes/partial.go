package lockmodes

// openPartial is a semaphore of as many permits as wanted.
func openPartial(o Options, m material) (Lock, error) { return newHolders(m, o.Permits), nil }

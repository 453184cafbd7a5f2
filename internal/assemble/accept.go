package assemble

import (
	"fmt"

	"sluice/internal/config"
	"sluice/lockmodes"
)

// AcceptLock says by what the workers of a configuration agree who accepts. Master
// and workers make it of the same configuration.
func AcceptLock(c *config.Config) (lockmodes.Options, error) {
	mode, err := lockmodes.Parse(c.Accept.Mode)
	if err != nil {
		return lockmodes.Options{}, fmt.Errorf("accept: %w", err)
	}
	return lockmodes.Options{Mode: mode, Permits: c.Accept.Permits, Dir: c.Accept.LockDir, UID: -1, GID: -1}, nil
}

package assemble

import (
	"fmt"
	"testing"

	"sluice/internal/config"
	"sluice/lockmodes"
)

// Every mode that there is can be written, and no other.
func TestAcceptModes(t *testing.T) {
	for m := range lockmodes.Modes {
		c, err := config.Parse("f", fmt.Appendf(nil, "[accept]\nmode = %q\npermits = 3\nlock_dir = \"/x\"\n", m.String()))
		if err != nil {
			t.Errorf("%s: %v", m, err)
			continue
		}
		o, err := AcceptLock(c)
		if err != nil || o.Mode != m || o.Permits != 3 || o.Dir != "/x" {
			t.Errorf("%s: %+v, %v", m, o, err)
		}
	}
	if _, err := AcceptLock(&config.Config{Accept: config.Accept{Mode: "other"}}); err == nil {
		t.Error("a mode that does not exist is accepted")
	}
}

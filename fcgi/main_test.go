package fcgi

import (
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/internal/leak"
)

// TestMain checks that the tests leave nothing behind.
func TestMain(m *testing.M) {
	// What this process was given itself is the business of whoever starts it.
	unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	os.Exit(leak.Main(m))
}

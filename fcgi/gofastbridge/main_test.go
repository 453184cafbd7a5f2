package gofastbridge_test

import (
	"flag"
	"os"
	"testing"

	"sluice/internal/leak"
)

// TestMain checks that the tests leave nothing behind. gofast's pool, which is
// measured, does.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		os.Exit(m.Run())
	}
	os.Exit(leak.Main(m))
}

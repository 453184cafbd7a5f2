package master

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMayExecute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice")
	if err := mayExecute(path); !os.IsNotExist(err) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for mode, fine := range map[os.FileMode]bool{0o755: true, 0o775: true, 0o757: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := mayExecute(path); (err == nil) != fine {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := mayExecute(path); err == nil {
		t.Error("another user's program would be executed")
	}
}

package machine

import (
	"strings"
	"testing"
)

func TestKernel(t *testing.T) {
	if k := Kernel(); !strings.HasPrefix(k, "Linux ") || len(strings.Fields(k)) != 3 {
		t.Errorf("kernel %q", k)
	}
}

func TestModel(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x86", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n", "Some CPU @ 2 GHz"},
		{"arm", "processor\t: 0\nBogoMIPS\t: 50.00\n", "model unknown"},
	} {
		if got := model([]byte(c.text)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

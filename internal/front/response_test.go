package front

import (
	"os"
	"testing"

	"sluice/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

func TestStatusOf(t *testing.T) {
	for text, want := range map[string]int{
		"HTTP/1.0 299 Odd\r\n": 299, "HTTP/1.1 404\r\n\r\n": 404, "HTTP/1.1 abc": 200, "HTTP/1.1 2": 200, "plain text": 200, "": 200,
	} {
		if got := statusOf([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

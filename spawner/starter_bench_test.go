package spawner

import (
	"os"
	"testing"

	"sluice/cgi"
)

// BenchmarkScripts is what a script costs beside its own work: from the start
// to its reaping.
func BenchmarkScripts(b *testing.B) {
	var s Scripts
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(b, err)
	defer null.Close()
	one := func() {
		p, err := s.Start(cgi.Command{Path: "/bin/true", Args: []string{"true"}, Dir: "/"}, null, null, null)
		if err != nil {
			b.Error(err)
			return
		}
		<-p.Done()
	}
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			one()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}

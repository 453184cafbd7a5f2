package assemble

import (
	"log/slog"
	"testing"

	"sluice/internal/config"
)

// What is served has the secrets of its links, or is not served.
func TestLinksNeedTheirSecret(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	c, err := config.Parse("f", []byte("[[site]]\nroot = \"/\"\n[[site.route]]\nmatch = \"/a/\"\nstatic = true\nsecure_link.secret_file = \"key\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	in := Inputs{Log: slog.New(slog.DiscardHandler)}
	const want = `route "/a/": the secret of its links has not been read`
	if _, err := NewWorker(c, in); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	in.Dry = true
	if _, err := NewWorker(c, in); err != nil {
		t.Error(err)
	}
	in.Dry, c.Sites[0].Routes[0].SecureLink.Secret = false, []byte("0123456789abcdef")
	w, err := NewWorker(c, in)
	if err != nil {
		t.Fatal(err)
	}
	if g := w.Handler.Sites.Find("x").Routes[0].Link; string(g.Key) != "0123456789abcdef" || g.Client {
		t.Errorf("%+v", g)
	}
}

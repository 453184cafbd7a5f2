package exchange

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything that a request needed is used again for others: whatever becomes of
// one, none gets anything of another's.
func TestNothingIsMixedUp(t *testing.T) {
	t.Parallel()
	var root string
	r := newRig(t, rigOptions{children: 4, keepAlive: true, change: func(a *App) {
		root = withFiles(t, a)
		a.ReleaseTimeout = 100 * time.Millisecond
	}})
	big := strings.Repeat("x", 100_000)
	r.script(func(c *call) {
		id := c.params["QUERY_STRING"]
		c.send(recStderr, []byte("of "+id+"\n"))
		head := "Id: " + id + "\n"
		switch how, _, _ := strings.Cut(id, "-"); how {
		case "small":
			c.say(head + "\n" + id)
		case "late": // the end comes behind the whole answer
			c.out(head + "Content-Length: " + strconv.Itoa(len(id)) + "\n\n" + id)
			time.Sleep(2 * time.Millisecond)
			c.end()
		case "big":
			c.say(head + "\n" + id + big)
		case "file": // the child has more to say than anybody wants
			c.out(head + "X-Sendfile: " + root + "/small\n\n" + id)
			time.Sleep(time.Millisecond)
			c.end()
		case "gone": // so is its client
			time.Sleep(3 * time.Millisecond)
			c.say(head + "\n" + id)
		case "dies":
			c.die()
		case "short":
			c.out(head + "Content-Length: 1000\n\n" + id)
			c.die()
		}
	})
	hows := []string{"small", "late", "big", "file", "gone", "dies", "short", "head"}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 60 {
				how := hows[rand.IntN(len(hows))]
				mixedUp(t, r, how, how+"-"+strconv.Itoa(n)+"-"+strconv.Itoa(i), big)
			}
		})
	}
	wg.Wait()
	r.free(10 * time.Second)
}

// mixedUp makes one request and checks that the answer is its own.
func mixedUp(t *testing.T, r *rig, how, id, big string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	method := "GET"
	if how == "head" {
		method, id = "HEAD", strings.Replace(id, "head", "late", 1)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.server.URL+"/x?"+id, nil)
	if err != nil {
		t.Error(err)
		return
	}
	if how == "gone" {
		time.AfterFunc(time.Duration(rand.IntN(4))*time.Millisecond, cancel)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if how != "gone" && how != "short" {
			t.Errorf("%s: %v", id, err)
		}
		return
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	want := map[string]string{"small": id, "late": id, "big": id + big, "file": "small", "gone": id}[how]
	switch {
	case how == "dies" || how == "short":
		// Either no answer, or one that breaks off: never somebody else's.
		if got := resp.Header.Get("Id"); got != "" && got != id || err == nil && resp.StatusCode == 200 {
			t.Errorf("%s: status %d, %q, %v", id, resp.StatusCode, got, err)
		}
	case how == "gone" && (err != nil || resp.StatusCode != 200):
	case err != nil || resp.StatusCode != 200 || resp.Header.Get("Id") != id || string(b) != want:
		t.Errorf("%s: status %d, %v, %d bytes, %v", id, resp.StatusCode, resp.Header, len(b), err)
	}
}

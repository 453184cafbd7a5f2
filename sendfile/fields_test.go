package sendfile

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestFields(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	tags := map[string]bool{}
	const n = 1000
	for i := range n {
		v := identity{inode: uint64(i % 100), size: int64(i / 100 % 5), modified: base.Add(time.Duration(i/500) * time.Nanosecond).UnixNano()}
		f, again := &File{is: v}, &File{is: v}
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { f.fields() })
		}
		all.Wait()
		got := f.fields()
		if got.etag != again.ETag() || got.length != strconv.FormatInt(v.size, 10) || got.lastModified != f.ModTime().UTC().Format(http.TimeFormat) {
			t.Errorf("%+v of %+v", got, v)
		}
		tags[got.etag] = true
	}
	if len(tags) != n {
		t.Errorf("%d tags of %d versions", len(tags), n)
	}
	if got := (&File{}).fields(); got.lastModified != "" {
		t.Errorf("no time: %+v", got)
	}
}

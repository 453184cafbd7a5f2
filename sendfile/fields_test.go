package sendfile

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// What is known of a version is never said of another one, however many there
// are and whoever asks at the same time.
func TestFieldsOfManyVersions(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := map[version]string{}
	var files []*File
	for i := range 4 * len(recent) {
		f := &File{inode: uint64(i % 700), size: int64(i / 700), modTime: base.Add(time.Duration(i%3) * time.Second)}
		files = append(files, f)
		v := version{f.inode, f.size, f.modTime.UnixNano()}
		want[v] = v.tag()
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, f := range files {
				got := f.fields()
				if got.etag != want[got.of] || got.of.inode != f.inode || got.length != strconv.FormatInt(f.size, 10) ||
					got.lastModified != f.modTime.Format(http.TimeFormat) || f.ETag() != got.etag {
					t.Errorf("%+v of %+v", got, f)
				}
			}
		})
	}
	all.Wait()
	tags := map[string]bool{}
	for _, tag := range want {
		tags[tag] = true
	}
	if len(tags) != len(want) {
		t.Errorf("%d tags of %d versions", len(tags), len(want))
	}
}

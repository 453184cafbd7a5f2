package config

import (
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// WatchOptions say how a configuration is watched.
type WatchOptions struct {
	// Changed is called when the file, or one that it includes, has another
	// content than when it was called last (the first time: than the Config has),
	// and when what could not be read can be, or the other way round. Whether the
	// new content is any good is for the one who loads it to find out. It is called
	// by one goroutine, so one call at a time; it may not call Close.
	Changed func()
	Log     *slog.Logger
	// Debounce is how long nothing may have happened before a change is believed to
	// be complete; 0: 100 ms. It grows with nothing: a file that is written without
	// a pause is looked at after twenty times as long.
	Debounce time.Duration
	// Poll is how often the files are looked at where the kernel does not tell of
	// changes; 0: 3 s.
	Poll time.Duration

	notifier func() (*notifier, error) // nil: openNotifier
}

// What a Watcher waits for, in units of Debounce.
const (
	mostDebounce = 20 // from the first event to a look
	doubtPause   = 5  // from a look at something doubtful to the next
	mostDoubts   = 10 // looks at something doubtful that goes on changing
)

// Watcher watches the files of a configuration: the main file, those that its
// include names, and those that may come to match it. Directories are watched,
// all of them from the root on, since a file is replaced by a rename, and so may
// be any folder or symbolic link on the way to it.
//
// A text that cannot be parsed, and a file that has become empty or has gone, is
// often one that is being written. It is looked at once more after a pause before
// anybody hears of it.
type Watcher struct {
	opt  WatchOptions
	file string
	quit chan struct{}
	done chan struct{}

	// Of the goroutine.
	known     contents // when Changed was called last
	doubted   contents // what was looked at last, if it was doubtful
	doubtedAt time.Time
	doubts    int
	patterns  []string // of include, when the main file could be parsed last
	watched   ways
	notifier  *notifier // nil: there is only polling
	renew     bool      // what is watched may not be what it was
	reason    string    // of polling; "" without
	quiet     *time.Timer
	since     time.Time // the first event that has not been looked at; zero: there is none
}

// Watch begins to watch the file of a configuration. If it has been changed since
// it was loaded, Changed is called soon. The error says that there is no file to
// watch; what the kernel refuses is replaced by polling, and logged.
func Watch(c *Config, o WatchOptions) (*Watcher, error) {
	if c.File == "" {
		return nil, errors.New("watch configuration: it has no file")
	}
	if o.Debounce == 0 {
		o.Debounce = 100 * time.Millisecond
	}
	if o.Poll == 0 {
		o.Poll = 3 * time.Second
	}
	if o.notifier == nil {
		o.notifier = openNotifier
	}
	w := &Watcher{opt: o, file: c.File, patterns: c.Include, quit: make(chan struct{}), done: make(chan struct{})}
	if c.origin != nil {
		w.known = c.origin.files
	} else {
		w.known, w.patterns = readContents(c.File, c.Include)
	}
	go w.run()
	return w, nil
}

// Close ends the watching and waits for a call of Changed to return.
func (w *Watcher) Close() {
	close(w.quit)
	<-w.done
}

func (w *Watcher) run() {
	defer close(w.done)
	defer func() { w.notifier.close() }()
	w.quiet = time.NewTimer(w.opt.Debounce)
	w.renew = true
	w.read() // from here on events come
	w.happened()
	for {
		var poll <-chan time.Time
		if w.reason != "" && w.since.IsZero() {
			poll = time.After(w.opt.Poll)
		}
		select {
		case <-w.quit:
			return
		case e := <-w.notifier.events():
			w.event(e)
		case err := <-w.notifier.errors():
			// Events were lost (a queue that overflowed), or may have been.
			w.opt.Log.Debug("watching the configuration", "err", err)
			w.renew = true
			w.happened()
		case <-poll:
			w.renew = w.renew || w.notifier == nil || w.notifier.partial
			w.look()
		case <-w.quiet.C:
			w.look()
		}
	}
}

// event takes notice of what may touch one of the files.
func (w *Watcher) event(e fsnotify.Event) {
	if _, folder := w.watched[e.Name]; folder {
		w.renew = true // its watch may have gone with it
	} else if !w.watched.wants(filepath.Dir(e.Name), filepath.Base(e.Name)) {
		return
	}
	w.happened()
}

func (w *Watcher) happened() {
	now := time.Now()
	if w.since.IsZero() {
		w.since = now
	}
	left := w.since.Add(mostDebounce * w.opt.Debounce).Sub(now)
	w.quiet.Reset(max(0, min(w.opt.Debounce, left)))
}

// look compares what there is with what is known.
func (w *Watcher) look() {
	w.since = time.Time{}
	now := w.read()
	if !now.equal(w.known) {
		if pause := w.doubt(now); pause > 0 {
			w.quiet.Reset(pause)
			return
		}
		w.known = now
		defer w.opt.Changed()
	}
	w.doubts, w.doubted = 0, nil
}

// doubt is how long to wait before something is believed.
func (w *Watcher) doubt(now contents) time.Duration {
	if !now.doubtful(w.known) {
		return 0
	}
	if w.doubted == nil || !now.equal(w.doubted) {
		if w.doubts++; w.doubts > mostDoubts {
			return 0
		}
		w.doubted, w.doubtedAt = now, time.Now()
	}
	return doubtPause*w.opt.Debounce - time.Since(w.doubtedAt)
}

// read makes sure that every folder is watched, and then reads the files, so that
// nothing that happens later goes unnoticed.
func (w *Watcher) read() contents {
	const most = 5 // rounds; whoever goes on moving folders makes another event
	for range most {
		now, patterns := readContents(w.file, w.patterns)
		w.patterns = patterns
		to := waysTo(w.file, patterns)
		if !w.renew && to.equal(w.watched) {
			return now
		}
		w.watch(to)
	}
	now, _ := readContents(w.file, w.patterns)
	return now
}

// watch begins anew: a watch is of a folder and not of its name, and fsnotify
// does not always know whether it still has one.
func (w *Watcher) watch(to ways) {
	w.notifier.close()
	w.notifier, w.watched, w.renew = nil, to, false
	reason := to.unheard()
	n, err := w.opt.notifier()
	if err == nil {
		w.notifier = n
		for _, dir := range slices.Sorted(maps.Keys(to)) {
			if e := n.add(dir); e != nil && err == nil {
				err, n.partial = e, true
			}
		}
	}
	if err != nil {
		reason = err.Error()
	}
	if reason != "" && reason != w.reason {
		w.opt.Log.Info("the configuration is polled", "every", w.opt.Poll, "reason", reason)
	}
	w.reason = reason
}

package config

import (
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// notifier is where events come from. A nil one has none.
type notifier struct {
	add     func(dir string) error
	partial bool // a folder was refused
	Events  chan fsnotify.Event
	Errors  chan error
	end     func() error
}

func openNotifier() (*notifier, error) {
	f, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		return nil, err
	}
	return &notifier{Events: f.Events, Errors: f.Errors, end: f.Close, add: func(dir string) error {
		if err := f.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
		return nil
	}}, nil
}

func (n *notifier) events() <-chan fsnotify.Event {
	if n == nil {
		return nil
	}
	return n.Events
}

func (n *notifier) errors() <-chan error {
	if n == nil {
		return nil
	}
	return n.Errors
}

func (n *notifier) close() {
	if n != nil {
		n.end()
	}
}

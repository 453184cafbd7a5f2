package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/scoreboard"
	"sluice/internal/systemd"
	"sluice/spawner"
)

// A trial is the new binary with the arguments and the environment of this one, and
// with trialVariable. It loads the configuration as ever, looks at the estate, says
// on trialAnswer whether it would take over, and ends.
const (
	trialVariable = "SLUICE_TRIAL"
	trialAnswer   = 3
	trialEstate   = 4
	trialTime     = 10 * time.Second
	trialWords    = 8 << 10 // bytes of what it prints that are read
)

// verdict is what a trial says.
type verdict struct {
	Version string
	Error   string
}

func isTrial() bool { return os.Getenv(trialVariable) != "" }

// trial is the side of the new binary. The configuration has been loaded.
func trial(o Options) error {
	e, err := readEstate(trialEstate)
	if err == nil {
		err = e.check(o.Config)
	}
	v := verdict{Version: o.Version}
	if err != nil {
		v.Error = err.Error()
	}
	answer := os.NewFile(trialAnswer, "answer")
	defer answer.Close()
	return errors.Join(err, json.NewEncoder(answer).Encode(v))
}

// check reports why this program could not take over.
func (e *estate) check(c *config.Config) error {
	if e.Children != spawner.Layout || e.Scoreboard != scoreboard.LayoutVersion {
		return fmt.Errorf("the memory that the workers share is of version %d and %d, this program knows %d and %d",
			e.Children, e.Scoreboard, spawner.Layout, scoreboard.LayoutVersion)
	}
	for _, a := range e.Apps {
		for _, l := range a.Ledgers {
			if l.Made.Size() != l.Size || l.Made.Geometry() != l.Geometry {
				return fmt.Errorf("ledger %q is laid out differently by this program", l.Name)
			}
		}
	}
	for _, s := range e.Seats {
		if s.Options.Size() != s.Size {
			return errors.New("the table of clients is laid out differently by this program")
		}
	}
	for _, g := range e.Generations {
		if g.Board.Layout.Bytes() != g.Board.Size {
			return errors.New("the scoreboard is laid out differently by this program")
		}
		ids, err := assemble.LookUpIdentities(g.Config)
		if err == nil {
			_, err = assemble.Places(g.Config, ids, os.Environ())
		}
		if err != nil {
			return fmt.Errorf("generation %d: %w", g.Number, err)
		}
	}
	return config.Diff(e.Generations[e.Current].Config, c).Refused()
}

// try has the binary at a path tried, and returns its version.
func (m *Master) try(path string) (version string, err error) {
	state, err := m.describe(false, nil).write()
	if err != nil {
		return "", err
	}
	defer state.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer null.Close()
	words, wordsTo, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer words.Close()
	answer, answerTo, err := os.Pipe()
	if err != nil {
		wordsTo.Close()
		return "", err
	}
	defer answer.Close()
	attr := &syscall.ProcAttr{Env: append(systemd.Private(os.Environ()), trialVariable+"=1"),
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	for _, f := range []*os.File{null, null, wordsTo, answerTo, state} {
		attr.Files = append(attr.Files, fdOf(f))
	}
	var c *spawner.Child
	OnMain(func() { c, err = m.reaper.Fork(path, os.Args, attr) })
	wordsTo.Close()
	answerTo.Close()
	if err != nil {
		return "", &os.PathError{Op: "exec", Path: path, Err: err}
	}
	defer func() {
		c.Signal(syscall.SIGKILL)
		<-c.Done()
	}()
	return hear(c, answer, words)
}

// hear waits for the verdict of a trial.
func hear(c *spawner.Child, answer, words *os.File) (version string, err error) {
	limit := time.Now().Add(trialTime)
	answer.SetReadDeadline(limit)
	words.SetReadDeadline(limit)
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(words, trialWords))
		io.Copy(io.Discard, words)
		said <- strings.TrimSpace(string(b))
	}()
	var v verdict
	err = json.NewDecoder(answer).Decode(&v)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fmt.Errorf("it says nothing for %v", trialTime)
	case err == nil && v.Error != "":
		return "", errors.New(v.Error)
	case err == nil:
		return v.Version, nil
	}
	// It has closed the answer without one, and so is about to end.
	select {
	case <-c.Done():
	case <-time.After(time.Until(limit)):
		return "", fmt.Errorf("it says nothing for %v", trialTime)
	}
	words.SetReadDeadline(time.Now().Add(time.Second)) // somebody else may have the pipe
	text := <-said
	if text == "" {
		return "", fmt.Errorf("it ended without a word: %v", c.Ending())
	}
	return "", fmt.Errorf("it ended: %v: %s", c.Ending(), text)
}

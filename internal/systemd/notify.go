package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that the service serves: at its start, and again when a reload that
// Reloading has announced is over. status is a line for people, as in `systemctl
// status`. The process says that it is the main one, since who was started by a
// shell, or was executed anew, may not be the one that systemd knows.
func Ready(status string) error {
	return tell(daemon.SdNotifyReady, line("STATUS", status), fmt.Sprintf("MAINPID=%d", os.Getpid()))
}

// Reloading says that a reload begins: with Type=notify-reload systemd waits for
// Ready, which has to come however the reload ends.
func Reloading(status string) error {
	return tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()), line("STATUS", status))
}

// Stopping says that the service ends.
func Stopping(status string) error {
	return tell(daemon.SdNotifyStopping, line("STATUS", status))
}

// Status says a line for people.
func Status(status string) error { return tell(line("STATUS", status)) }

// Private is an environment without what is between the manager and this process:
// whoever has it could speak in its name.
func Private(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "NOTIFY_SOCKET" || name == "WATCHDOG_USEC" || name == "WATCHDOG_PID"
	})
}

// line is an assignment; a newline would begin another one.
func line(name, value string) string {
	return name + "=" + strings.Join(strings.Fields(value), " ")
}

// patience is how long a manager that reads nothing is waited for: a server has to
// reload and to stop without it.
const patience = time.Second

func tell(lines ...string) error {
	if err := send(strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// send is daemon.SdNotify, which waits without a bound.
func send(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(patience))
	_, err = c.Write([]byte(state))
	return err
}

// Watchdog says every half period of WatchdogSec= that the service lives, as long
// as alive says so, until ctx ends. alive gets a context that ends with the
// period. What could not be said is tried again with the next period, and the last
// such error returned. It returns at once where no watchdog is wanted of this process.
func Watchdog(ctx context.Context, alive func(context.Context) bool) error {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if period == 0 {
		return nil
	}
	t := time.NewTicker(period / 2)
	defer t.Stop()
	for {
		if within(ctx, period/2, alive) {
			if terr := tell(daemon.SdNotifyWatchdog); terr != nil {
				err = terr
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return err
		}
	}
}

func within(ctx context.Context, d time.Duration, alive func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return alive(ctx)
}

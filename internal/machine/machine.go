// Package machine says what a measurement ran on.
package machine

import (
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is the system, its release and its architecture.
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

// CPU is the model of the processor.
func CPU() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	return model(text)
}

func model(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "model unknown"
}

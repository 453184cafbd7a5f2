package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// blkio is where version 1 of the blkio controller is mounted. That of version 2
// counts the reads of page cache alike, but is not mounted with it.
const blkio = "/sys/fs/cgroup/blkio"

// slowDisk is a group of processes for which a disk makes so many reads a second.
type slowDisk struct{ dir string }

// slowDevice is the disk below a folder, as the controller wants it.
func slowDevice(dir string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", err
	}
	major, minor := st.Dev>>8&0xfff|st.Dev>>32&^0xfff, st.Dev&0xff|st.Dev>>12&^0xff // makedev(3)
	device := fmt.Sprintf("%d:%d", major, minor)
	if major == 0 {
		return "", fmt.Errorf("%s lies on no disk", dir)
	}
	block, err := filepath.EvalSymlinks("/sys/dev/block/" + device)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(block, "partition")); err == nil {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(block), "dev"))
		return strings.TrimSpace(string(text)), err
	}
	return device, nil
}

// able says whether the machine can do the scenario.
func (b *bench) able(s scenario) bool { return s.kind != kindCold || b.quick == nil }

// trySlowDisk says why the disk below a folder cannot be made slow.
func trySlowDisk(dir string) error {
	s, err := newSlowDisk(filepath.Base(dir), dir, coldReads)
	if err != nil {
		return err
	}
	return s.close()
}

// removeSlowDisks removes groups of runs that were killed.
func removeSlowDisks() {
	left, _ := filepath.Glob(filepath.Join(blkio, folderPrefix+"*"))
	for _, dir := range left {
		os.Remove(dir) // of another run, it is not empty
	}
}

// newSlowDisk makes an empty group.
func newSlowDisk(name, dir string, reads int) (*slowDisk, error) {
	device, err := slowDevice(dir)
	if err != nil {
		return nil, err
	}
	s := &slowDisk{filepath.Join(blkio, name)}
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := s.write(s.dir, "blkio.throttle.read_iops_device", fmt.Sprintf("%s %d", device, reads)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// have puts processes into the group.
func (s *slowDisk) have(list []member) (err error) {
	for _, m := range list {
		err = errors.Join(err, s.write(s.dir, "cgroup.procs", strconv.Itoa(m.pid)))
	}
	return err
}

// close puts what is in the group back into the one above, and removes it.
func (s *slowDisk) close() error {
	text, _ := os.ReadFile(filepath.Join(s.dir, "cgroup.procs"))
	for _, pid := range strings.Fields(string(text)) {
		s.write(blkio, "cgroup.procs", pid) // it may be gone
	}
	return os.Remove(s.dir)
}

func (s *slowDisk) write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// The cold files, below the document root: as large as the median of an image
// host's, and so many that hardly one is asked for twice.
const (
	coldFolder = "cold"
	coldFiles  = 40_000
	coldSize   = 4500
)

func coldPath(i int) string { return fmt.Sprintf("/%s/%02d/%05d.txt", coldFolder, i%100, i) }

// makeCold writes the cold files to the disk.
func (b *bench) makeCold() error {
	if !slices.ContainsFunc(b.scenarios(), func(s scenario) bool { return s.kind == kindCold && b.able(s) }) {
		return nil
	}
	body := make([]byte, coldSize)
	for i := range coldFiles {
		path := filepath.Join(b.root, coldPath(i))
		if i < 100 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return err
		}
	}
	dir, err := os.Open(b.root)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close())
}

// evict takes the cold files out of the page cache.
func (b *bench) evict() error {
	for i := range coldFiles {
		f, err := os.Open(filepath.Join(b.root, coldPath(i)))
		if err != nil {
			return err
		}
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

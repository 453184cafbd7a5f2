package main

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// fileSet is many files, of which a load asks for one after the other at random.
type fileSet struct {
	folder string // in both roots
	ending string
	count  int
	sizes  func(r *rand.Rand) int
	// hot is how many of them half of the requests are for; 0: all are asked for
	// alike.
	hot int
}

var (
	// sameFiles are as small as the single one, and twice as many as sluice keeps
	// open.
	sameFiles = &fileSet{folder: "many", ending: ".txt", count: 2000, sizes: func(*rand.Rand) int { return smallSize }}
	// images are those of an image host: thumbnails of 4.5 KB at the median, a few
	// large pictures, and every day's favourites.
	images = &fileSet{folder: "images", ending: ".jpg", count: 10000, hot: 500, sizes: imageSize}
)

// imageSize is log-normal: one in forty is larger than 32 KB.
func imageSize(r *rand.Rand) int {
	return min(int(smallSize*math.Exp(r.NormFloat64())), 1<<20)
}

// pattern is the name of a file below its root, with the number to be filled in.
func (f *fileSet) pattern() string { return f.folder + "/%05d" + f.ending }

// name is the i-th file below its root.
func (f *fileSet) name(i int) string { return fmt.Sprintf(f.pattern(), i) }

// make writes the files into the send root, and names them in the document root
// as well. They are the same in every run.
func (f *fileSet) make(files, root string) error {
	err := errors.Join(os.Mkdir(filepath.Join(files, f.folder), 0o755), os.Mkdir(filepath.Join(root, f.folder), 0o755))
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < f.count && err == nil; i++ {
		text := make([]byte, f.sizes(r))
		for j := range text {
			text[j] = byte(i + j)
		}
		path := filepath.Join(files, f.name(i))
		if err = os.WriteFile(path, text, 0o644); err == nil {
			err = os.Link(path, filepath.Join(root, f.name(i)))
		}
	}
	return err
}

// makeMany writes the sets that the scenarios of the run have.
func (b *bench) makeMany() error {
	made := map[*fileSet]bool{nil: true}
	for _, s := range b.scenarios() {
		if made[s.many] {
			continue
		}
		made[s.many] = true
		if err := s.many.make(b.files, b.root); err != nil {
			return err
		}
	}
	return nil
}

//go:embed many.lua
var manyScript []byte

// script is what wrk is told besides its options: the script in front of the URL,
// and its arguments behind it. All servers are asked for the same files in the
// same order.
func (s scenario) script(dir string) (before, behind []string, err error) {
	if s.many == nil {
		return nil, nil, nil
	}
	path := filepath.Join(dir, "many.lua")
	if err := os.WriteFile(path, manyScript, 0o644); err != nil {
		return nil, nil, err
	}
	target := "/" + s.many.pattern()
	if s.kind == kindSend {
		target = s.path + "?" + string(numberWord) + "%05d"
	}
	return []string{"-s", path}, []string{"--", target, strconv.Itoa(s.many.count), strconv.Itoa(s.many.hot)}, nil
}

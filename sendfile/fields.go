package sendfile

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"time"
)

// fields are what an answer says of a file. To make them costs as much as everything else that is done for a small file
// beside its system calls.
type fields struct {
	etag         string
	lastModified string // "": the file system keeps no times
	length       string
}

// fields returns those of the file.
func (f *File) fields() *fields {
	if made := f.made.Load(); made != nil {
		return made
	}
	made := &fields{etag: f.is.tag(), length: strconv.FormatInt(f.is.size, 10)}
	if t := time.Unix(0, f.is.modified); t.Unix() != 0 { // a file system that keeps no times says 0
		made.lastModified = t.UTC().Format(http.TimeFormat)
	}
	f.made.Store(made)
	return made
}

// tag is the entity tag.
func (v *identity) tag() string {
	var in [24]byte
	binary.LittleEndian.PutUint64(in[0:], v.inode)
	binary.LittleEndian.PutUint64(in[8:], uint64(v.size))
	binary.LittleEndian.PutUint64(in[16:], uint64(v.modified))
	sum := sha256.Sum256(in[:])
	const used = 12 // bytes: 16 characters without padding
	var out [2 + used*4/3]byte
	out[0], out[len(out)-1] = '"', '"'
	base64.RawURLEncoding.Encode(out[1:len(out)-1], sum[:used])
	return string(out[:])
}
